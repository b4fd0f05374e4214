"""Your own images in folders named by class, at any depth below them."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.images import IMAGE_SUFFIXES
from mammozoo.errors import UsageError
from mammozoo_datasets.published import is_visible, left_out

_MASK = re.compile(r"(.+)_mask(_\d+)?")
_EXPECTED = "root/<class>/<image>, such as root/benign/001.png and root/malignant/002.png"


class Folder(Dataset):
    """Images in one folder for each class; the classes are the names of the folders, sorted.

    `NAME_mask.png` (or `NAME_mask_1.png`, …) beside an image NAME is a mask of it.

    Args:
        root: the folder that holds the class folders.

    Raises:
        UsageError: the root is a file, or holds fewer than two folders.
    """

    info = DatasetInfo(
        name="folder",
        title="Your images, in folders named by class",
        modality="any",
        classes=(),
        license="yours",
        access="Your own files.",
        layout="""\
    root/
      benign/001.png  002.png  002_mask.png  …
      malignant/clinic-a/17.dcm  …""",
    )

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        if len(self.classes) < 2:
            names = ", ".join(f"'{name}'" for name in self.classes) or "none"
            needed = f"needs at least two class folders in --root '{root}'; found {names}"
            raise UsageError(f"Data set 'folder' {needed}. Expected {_EXPECTED}.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the folders in the root, sorted; the second of two is the positive class."""
        assert self.root is not None
        return tuple(sorted(path.name for path in self.root.glob("*") if path.is_dir() and is_visible(path.name)))

    def samples(self) -> list[Sample]:
        """Every image, class by class, sorted by path; `notes` names the files left out.

        Raises:
            UsageError: a class folder holds no image.
        """
        assert self.root is not None
        others = [path for path in sorted(self.root.glob("*")) if path.is_file() and is_visible(path.name)]
        samples = []
        for label in self.classes:
            images, other_files = _images(self.root / label)
            if not images:
                raise UsageError(
                    f"Data set 'folder': class folder '{self.root / label}' holds no image "
                    f"({', '.join(sorted(IMAGE_SUFFIXES))}). Fill it or remove it. Expected {_EXPECTED}."
                )
            others += other_files
            for image, masks in images.items():
                names = tuple(mask.relative_to(self.root).as_posix() for mask in masks)
                samples.append(Sample(image.relative_to(self.root).as_posix(), label, masks=names))
        left = [path.relative_to(self.root).as_posix() for path in others]
        self.notes = left_out(left, "files left out, not an image or in no class folder")
        return samples


def _images(folder: Path) -> tuple[dict[Path, list[Path]], list[Path]]:
    """The images at any depth with their masks, and the other files."""
    below = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [path for path in below if all(map(is_visible, path.relative_to(folder).parts))]
    pictures = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    stems = {path.with_suffix("") for path in pictures}
    images: dict[Path, list[Path]] = {}
    masks: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in pictures:
        match = _MASK.fullmatch(path.stem)
        if match and path.with_name(match[1]) in stems:
            masks[path.with_name(match[1])].append(path)
        else:
            images[path] = []
    return {image: masks[image.with_suffix("")] for image in images}, [p for p in files if p not in set(pictures)]
