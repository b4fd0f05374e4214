"""Your own images in folders named by class, at any depth below them; folders named train, val, test or fold-1 are parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mammozoo.data.dataset import Dataset, DatasetInfo, Modality, Sample
from mammozoo.data.io.images import IMAGE_SUFFIXES
from mammozoo.data.io.listing import is_image_folder, is_mask_folder, is_system, list_images
from mammozoo.data.splits.make import part_named
from mammozoo.errors import UsageError

_EXPECTED = (
    "root/<class>/<image>, such as root/benign/001.png and root/malignant/002.png, or root/<part>/<class>/<image>"
)


class Folder(Dataset):
    """Images in one folder for each class; the classes are the names of the folders, sorted.

    Masks are known by their name (`NAME_mask.png`, `NAME_mask_1.png`, …) or folder (`masks/NAME.png`). Folders `train`, `val`,
    `test` or `fold-1`, … above or below the class folders are the official split, in `meta`.

    Args:
        root: the folder that holds the class folders.
        modality: what the images are; a model trained on them then answers for no others.

    Raises:
        UsageError: the root is a file, holds fewer than two class folders, or classes beside parts.
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
      malignant/clinic-a/17.dcm  …
    or root/train/benign/001.png  …  root/test/malignant/17.dcm  …""",
    )

    def __init__(self, root: Path | None = None, modality: Modality = "any") -> None:
        super().__init__(root)
        self.info = replace(self.info, modality=modality)
        if len(self.classes) < 2:
            names = ", ".join(f"'{name}'" for name in self.classes) or "none"
            needed = f"needs at least two class folders in --root '{root}'; found {names}"
            others = [path.name for path in _subfolders(root) if path.name not in self.classes] if root else []
            not_classes = f" ({', '.join(others)}: no class by their names)" if others else ""
            loose = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in root.glob("*")) if root else 0
            lie = f" {loose} images lie in it: of one class, give the folder above; of several, sort them or list them in a table."
            raise UsageError(f"Data set 'folder' {needed}{not_classes}.{lie if loose else ''} Expected {_EXPECTED}.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders, sorted; the second of two is the positive class."""
        return tuple(sorted({label for label, _, _ in self._homes}))

    def samples(self) -> list[Sample]:
        """Every image, class by class, sorted by path; `notes` counts and names what is left out.

        Raises:
            UsageError: a class folder holds no image.
        """
        assert self.root is not None
        listing = list_images(self.root)
        homes = {home: (label, part) for label, part, home in self._homes}
        samples, outside, empty = [], [], {label: home for label, _, home in self._homes}
        for image in listing.images:
            home = next((folder for folder in image.parents if folder in homes), None)
            name = image.relative_to(self.root).as_posix()
            if home is None:
                outside.append(name)
                continue
            label, part = homes[home]
            part = part or next(filter(None, map(part_named, image.relative_to(home).parts[:-1])), None)
            empty.pop(label, None)
            masks = tuple(mask.relative_to(self.root).as_posix() for mask in listing.masks[image])
            key = "part" if part in ("train", "val", "test") else "fold"
            samples.append(Sample(name, label, masks=masks, meta={key: part} if part else {}))
        for home in empty.values():
            raise UsageError(
                f"Data set 'folder': class folder '{home}' holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}). Fill it or "
                f"remove it. Expected {_EXPECTED}."
            )
        if outside:
            listing.skipped["images left out, in no class folder"] = outside
        self.notes = listing.notes
        if parts := sorted({str(value) for sample in samples for value in sample.meta.values()}):
            use = "--set split.official=true trains by it; without that a new split is made"
            self.notes.append(f"The folders {', '.join(parts)} are read as the official split: {use}.")
        return sorted(samples, key=lambda sample: sample.label)  # stable: by path within a class

    @cached_property
    def _homes(self) -> list[tuple[str, str | None, Path]]:
        """(class, part or None, class folder), as they lie on disk."""
        assert self.root is not None
        return list(_class_folders(self.root, None))


def _class_folders(folder: Path, part: str | None) -> Iterator[tuple[str, str | None, Path]]:
    inside = [path for path in _subfolders(folder) if not is_mask_folder(path.name)]
    above = [path for path in inside if is_image_folder(path.name) or (part is None and part_named(path.name))]
    classes = [path for path in inside if path not in above]
    if above and classes:
        one, other = (", ".join(f"'{path.name}'" for path in paths) for paths in (above, classes))
        raise UsageError(
            f"Data set 'folder': in '{folder}' {one} {'reads' if len(above) == 1 else 'read'} like parts of a data set and {other} "
            f"like classes. Move or rename the one or the other. Expected {_EXPECTED}."
        )
    for path in above:
        yield from _class_folders(path, part_named(path.name) or part)
    for path in classes:
        yield path.name, part, path


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir() and not is_system(path.name))
