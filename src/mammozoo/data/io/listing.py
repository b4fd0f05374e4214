"""What lies in a folder: which files are images, which are lesion masks, what is skipped, and why.

system files    hidden ones, and what macOS, Windows and network drives leave behind (`__MACOSX`, `Thumbs.db`, `@eaDir` …)
image           a known suffix, or the mark of DICOM inside (files on a CD have no suffix); of DICOM no reports, directories …
mask            by its name (`01_mask.png`, `Mask 01.png`, `01_segmentation_2.png`) or its folder (`masks/01.png`)
links           to folders are followed, each folder once; a link that leads nowhere, or up, is skipped
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mammozoo.data.io.dicom import DICOM_SUFFIXES, holds_no_picture, is_dicom
from mammozoo.data.io.images import IMAGE_SUFFIXES

_SYSTEM = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "@recycle", "#recycle", "$recycle.bin", "lost+found",
    "dicomdir", "icon\r", "system volume information",
}  # fmt: skip
_SURE = r"(?:masks?|msks?|segmentations?|ground[ ._-]?truths?)"
_MASK_FOLDER = re.compile(
    rf"(?:.*[ ._-]|.*[a-z](?=(?-i:M)))?{_SURE}(?:[ ._-].*)?|segs?|gts?|annotations?", re.IGNORECASE
)
_IMAGE_WORD = r"(?:images?|imgs?|pictures?|originals?|scans?)"
_NUMBER = r"(?:[ ._-]*\(?\d+\)?)?"
_BEFORE = r"(?:[ ._-]+|(?<=\d)|(?<=[a-z])(?=(?-i:[MSG])))(?:(?:lesion|tumou?r|mass|roi)[ ._-]*)?"
_MASK = re.compile(rf"(.+?){_BEFORE}{_SURE}{_NUMBER}|{_SURE}(?:[ ._-]+|(?=\d))(.+)|{_SURE}{_NUMBER}", re.IGNORECASE)
_MAYBE = re.compile(rf"(.+?)[ ._-]+(?:segs?|gt){_NUMBER}", re.IGNORECASE)  # a mask only beside its image
_IMAGE = re.compile(rf"{_IMAGE_WORD}[ ._-]+(.+)|(.+?)[ ._-]+{_IMAGE_WORD}|{_IMAGE_WORD}", re.IGNORECASE)
_MARK = 1024  # bytes that hold DICOM's mark and the storage class


@dataclass
class Listing:
    """Images in the order of their paths, the masks of each, and the names of what is skipped by the reason."""

    images: list[Path] = field(default_factory=list)
    masks: dict[Path, list[Path]] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """As `notes_of`."""
        return notes_of(self.skipped)


def is_system(name: str) -> bool:
    """Whether a file or folder is none of the data, by its name."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


@cache
def is_mask_folder(name: str) -> bool:
    """Whether a folder holds lesion masks, by its name."""
    return _MASK_FOLDER.fullmatch(name) is not None


@cache
def is_image_folder(name: str) -> bool:
    """Whether a folder says no more than that images are in it."""
    return re.fullmatch(r"(?:images?|imgs?|pictures?)", name, re.IGNORECASE) is not None


def notes_of(skipped: dict[str, list[str]]) -> list[str]:
    """A sentence for each reason, with the number and the first few names."""
    return [f"{len(names)} {why}: {some(names)}." for why, names in skipped.items()]


def some(names: Sequence[str]) -> str:
    """The first few names, quoted."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (" …" if len(names) > 5 else "")


def walk(root: Path, skipped: dict[str, list[str]], depth: int | None = None) -> Iterator[Path]:
    """The files below a folder, at most `depth` folders deep: those of a folder before its folders, by name.

    Linked folders come last, and only if their folder was not read yet. `skipped` is filled: reason → names.
    """

    def skip(why: str, path: Path) -> None:
        skipped.setdefault(why, []).append(path.relative_to(root).as_posix())

    seen: set[str] = set()
    real, linked = [root], list[Path]()
    while real or linked:
        here = real.pop() if real else linked.pop(0)
        place = os.path.realpath(here)
        if place in seen or (here != root and _holds(place, os.path.realpath(root))):
            skip("linked folders skipped, they lead to what is read already", here)
            continue
        seen.add(place)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            skip("folders left out, they cannot be opened", here)
            continue
        folders: list[Path] = []
        for entry in entries:
            path = here / entry.name
            if is_system(entry.name):
                skip("system files and folders skipped", path)
            elif os.path.isdir(path):  # noqa: PTH112 - False where Path raises
                if depth is None or len(path.relative_to(root).parts) <= depth:
                    (linked if path.is_symlink() else folders).append(path)
            elif os.path.isfile(path):  # noqa: PTH113
                yield path
            else:
                skip("left out, links that lead nowhere or no regular files", path)
        real += reversed(folders)


def list_images(root: Path) -> Listing:
    """The images anywhere below a folder; `skipped` holds all else. Paths start with `root`."""
    listing, passed = Listing(), dict[str, list[str]]()
    files = sorted(walk(root, passed))
    pictures = [path for path in files if is_image(path)]
    own, masks = _sorted_out(path.relative_to(root) for path in pictures)
    listing.images = [root / path for path in own]
    listing.masks = {root / path: [root / mask for mask in found] for path, found in own.items()}
    taken = set(pictures)
    for why, names in (
        ("masks left out, without an image", [path.as_posix() for path in masks]),
        ("files left out, not an image", [p.relative_to(root).as_posix() for p in files if p not in taken]),
    ):
        if names:
            listing.skipped[why] = names
    listing.skipped |= passed
    return listing


def masks_beside(image: Path) -> list[Path]:
    """The lesion masks of an image that lie beside it, in a folder of masks there, or in one beside its folder of images."""
    top = image.parent.parent if is_image_folder(image.parent.name) else image.parent
    near = [image.parent, *(path for path in _folders(image.parent) if is_mask_folder(path.name))]
    near += [path for path in _folders(top) if top != image.parent and is_mask_folder(path.name)]
    files = [path for folder in near for path in _files(folder) if not is_system(path.name) and is_image(path)]
    own, _ = _sorted_out([image.relative_to(top), *(path.relative_to(top) for path in files)])
    return [top / mask for mask in own.get(image.relative_to(top), [])]


def is_image(path: Path) -> bool:
    """Whether a file is an image that mammozoo may read, by its suffix, else by the mark of DICOM in it.

    A DICOM file whose storage class has no picture is none.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES - DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as handle:
            head = handle.read(_MARK)
    except OSError:
        return suffix in DICOM_SUFFIXES  # reading it gives the reason
    return is_dicom(path, head[:132]) and not holds_no_picture(head)


def _sorted_out(paths: Iterable[Path]) -> tuple[dict[Path, list[Path]], list[Path]]:
    """Image → its masks, and the masks without an image."""
    called = {path: _names(path) for path in sorted(dict.fromkeys(paths))}
    masked = {path: its for path, (own, *_) in called.items() if (its := _image_names(path, own)) is not None}
    images = [path for path in called if path not in masked]
    by_name = {name: path for path in images for name in called[path][1:]}
    by_name |= {called[path][0]: path for path in images}  # the plain name counts most
    for path in images:
        match = _MAYBE.fullmatch(path.stem)
        if match and (name := (*called[path][0][:-1], match[1].lower())) in by_name:
            masked[path] = [name]
    found: defaultdict[tuple[str, ...], list[Path]] = defaultdict(list)
    lonely: list[Path] = []
    for path in (path for path in called if path in masked):
        image = next((by_name[name] for name in masked[path] if name in by_name), None)
        (lonely if image is None else found[called[image][0]]).append(path)
    return {path: found[called[path][0]] for path in images if path not in masked}, lonely


def _names(path: Path) -> list[tuple[str, ...]]:
    """What an image is called: its folders, without those that say images or masks, and its stem; also without `image_`."""
    plain = [part.lower() for part in path.parts[:-1] if not is_image_folder(part) and not is_mask_folder(part)]
    match = _IMAGE.fullmatch(path.stem)
    return [(*plain, path.stem.lower()), *([(*plain, (match[1] or match[2] or "").lower())] if match else [])]


def _image_names(path: Path, own: tuple[str, ...]) -> list[tuple[str, ...]] | None:
    """What the image of a mask may be called, the likeliest first; None for what is no mask by its name or folder."""
    match = _MASK.fullmatch(path.stem)
    if match is None and not any(map(is_mask_folder, path.parts[:-1])):
        return None
    return [*([(*own[:-1], (match[1] or match[2] or "").lower())] if match else []), own]


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _files(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_file()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
