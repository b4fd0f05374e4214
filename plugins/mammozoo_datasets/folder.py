"""Your own images in folders named by class, at any depth below them:

    root/
      benign/001.png  002.png  002_mask.png  …
      malignant/clinic-a/17.dcm  …

`NAME_mask.png` (or `NAME_mask_1.png`, …) beside an image NAME is a mask of it, not an image.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.images import IMAGE_SUFFIXES
from mammozoo.errors import UsageError

_MASK = re.compile(r"(.+)_mask(_\d+)?")
_EXPECTED = "root/<class>/<image>, such as root/benign/001.png and root/malignant/002.png"


class Folder(Dataset):
    """Images in one folder a class; the classes are the names of the folders, sorted.

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
            found = ", ".join(f"'{name}'" for name in self.classes) or "none"
            raise UsageError(
                f"Data set 'folder' needs at least two class folders in --root '{root}'; found {found}. "
                f"Expected {_EXPECTED}."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the folders in the root, sorted; the second of two is the positive class."""
        assert self.root is not None
        return tuple(sorted(path.name for path in self.root.glob("*") if path.is_dir() and _is_visible(path)))

    def samples(self) -> list[Sample]:
        """Every image, class by class, sorted by path; `notes` names the files left out.

        Raises:
            UsageError: a class folder holds no image.
        """
        assert self.root is not None
        left_out = [path for path in sorted(self.root.glob("*")) if path.is_file() and _is_visible(path)]
        samples = []
        for label in self.classes:
            images, others = _images(self.root / label)
            if not images:
                raise UsageError(
                    f"Data set 'folder': class folder '{self.root / label}' holds no image "
                    f"({', '.join(sorted(IMAGE_SUFFIXES))}). Fill it or remove it. Expected {_EXPECTED}."
                )
            left_out += others
            for image, masks in images.items():
                names = tuple(mask.relative_to(self.root).as_posix() for mask in masks)
                samples.append(Sample(image.relative_to(self.root).as_posix(), label, masks=names))
        if left_out:
            names = tuple(f"'{path.relative_to(self.root).as_posix()}'" for path in left_out)
            self.notes = [
                f"{len(names)} files left out, no image or in no class folder: "
                f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}."
            ]
        return samples


def _is_visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))


def _images(folder: Path) -> tuple[dict[Path, list[Path]], list[Path]]:
    """The images at any depth with their masks, and the files that are no images."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and all(_is_visible(part) for part in (path, *path.relative_to(folder).parents[:-1]))
    ]
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
