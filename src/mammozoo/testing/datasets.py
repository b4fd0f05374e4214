"""What a data set must keep: who may use it, and samples that are there, labelled, grouped and always in one order."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, get_args
from unittest import mock

import numpy as np

from mammozoo.config.names import call
from mammozoo.data.dataset import Dataset, Modality, Sample
from mammozoo.errors import MammozooError, NotFoundError, UsageError
from mammozoo.testing.check import NotChecked, Rule, Subject, rule
from mammozoo.testing.common import has_name_and_summary, needs_options, options_have_types

_READ = 3  # images of each class that are opened; all of them would take minutes
_ELSEWHERE = Path("a/folder/that/nobody/has")

DatasetSubject = Subject[type[Dataset]]


@rule("Lists, reports and model cards show it.", "Fill in `info`: a title, a modality, and at least two classes.")
def info_is_complete(subject: DatasetSubject) -> str | None:
    """Title, modality and classes are stated; classes may be found on disk instead."""
    info = subject.value.info
    if not info.title:
        return "`info` has no title."
    if info.modality not in get_args(Modality):
        return f"The modality '{info.modality}' is none of {', '.join(get_args(Modality))}."
    if len(set(info.classes)) != len(info.classes):
        return "`info.classes` names a class twice."
    return None if len(info.classes) >= 2 or _finds_classes(subject) else f"`info` names {len(info.classes)} classes."


@rule(
    "Whoever trains on it must know whether they may, and whom to cite.",
    "Fill in `info.license`, `info.citation` and `info.url`; 'unclear' is an answer, silence is none.",
)
def licence_and_citation(subject: DatasetSubject) -> str | None:
    """Licence, citation and address are stated; generated data and the user's own need no citation."""
    info = subject.value.info
    if not info.license:
        return "`info` states no licence."
    if info.synthetic or _finds_classes(subject):
        return None
    return next((f"`info` has no {key}." for key in ("citation", "url") if not getattr(info, key)), None)


@rule(
    "A wrong --root is the commonest mistake; the message must help.",
    "Call `super().__init__(root)`, and raise NotFoundError or UsageError where the folder holds nothing of yours.",
)
def says_what_is_missing(subject: DatasetSubject) -> str | None:
    """Without a root, with one that is not there and with an empty one it raises an error of mammozoo's."""
    if not subject.value.needs_root:
        return None
    for root in (None, _ELSEWHERE):
        with contextlib.suppress(UsageError, NotFoundError):
            call(subject.value, subject.spec, root)
            return f"root={root} raises nothing."
    with tempfile.TemporaryDirectory() as empty:
        try:
            found = call(subject.value, subject.spec, Path(empty)).samples()
        except MammozooError:
            return None
    return f"An empty folder raises nothing and gives {len(found)} samples."


@rule(
    "Everything begins with the list of samples.",
    "Give --root the folder as its source gives it; if that is it, look at `samples`.",
)
def opens(subject: DatasetSubject) -> str | None:
    """It opens with its root and lists at least one sample."""
    return None if len(_samples(opened(subject))) else "`samples` gives none."


@rule(
    "Files are named in splits and predictions that must fit on another machine.",
    "Give each image its path below the root, with '/', once.",
    needs=[opens],
)
def paths_are_there(subject: DatasetSubject) -> str | None:
    """Images and masks are relative paths of files that exist, and no image is there twice."""
    data = opened(subject)
    in_files = data.root is not None and type(data).read is Dataset.read  # else images may be arrays in one file
    seen: set[str] = set()
    for sample in _samples(data):
        if sample.image in seen:
            return f"The image '{sample.image}' is there twice."
        seen.add(sample.image)
        for name in (sample.image, *sample.masks):
            path = PurePosixPath(name)
            if path.is_absolute() or "\\" in name or ".." in path.parts or ":" in name[:2]:
                return f"'{name}' is no relative path with forward slashes."
            if in_files and not data.path(name).is_file():
                return f"'{name}' does not exist under the root."
    return None


@rule(
    "A label outside the classes stops a training, a class without images makes its scores undefined.",
    "Let `samples` use the names of `classes`.",
    needs=[opens],
)
def labels_are_classes(subject: DatasetSubject) -> str | None:
    """Every label is a class, and every class has a sample."""
    data = opened(subject)
    labels = {sample.label for sample in _samples(data)}
    strange, empty = sorted(labels - set(data.classes)), [name for name in data.classes if name not in labels]
    if strange:
        return f"The label '{strange[0]}' is none of the classes {', '.join(data.classes)}."
    return f"No sample has the class '{empty[0]}'." if empty else None


@rule(
    "Splits keep the images of a patient together, by these names.",
    "Give None where the patient is not known, and name a lesion uniquely in the whole data set.",
    needs=[opens],
)
def groups_are_sound(subject: DatasetSubject) -> str | None:
    """Patients and lesions are names or None; a lesion belongs to one patient and to one class."""
    patients: dict[str, set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    for sample in _samples(opened(subject)):
        for key in ("patient", "lesion"):
            value = getattr(sample, key)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                return f"The {key} of '{sample.image}' is {value!r}, neither a name nor None."
        if sample.lesion is not None:
            labels[sample.lesion].add(sample.label)
            if sample.patient is not None:
                patients[sample.lesion].add(sample.patient)
    for what, found in (("patients", patients), ("classes", labels)):
        shared = [lesion for lesion, owners in found.items() if len(owners) > 1]
        if shared:
            return f"The lesion '{shared[0]}' belongs to {len(found[shared[0]])} {what}."
    return None


@rule(
    "Seeds and splits mean the same on every machine only if the order does; file systems list as they please.",
    "Sort what you list.",
    needs=[opens],
)
def order_is_stable(subject: DatasetSubject) -> str | None:
    """Two readings give the same samples in the same order, also where folders are listed backwards."""
    first = _samples(opened(subject))
    if list(first) != list(_samples(opened(subject))):
        return "A second reading gives other samples, or another order."
    with _listed_backwards():
        again = _samples(opened(subject))
    return None if list(first) == list(again) else "The order follows that in which the file system lists its files."


@rule(
    "Networks see what `read` gives, stretched to 8 bits.",
    "Return (H, W) or (H, W, 3) as uint8, uint16 or finite float32.",
    needs=[opens],
)
def values_are_in_range(subject: DatasetSubject) -> str | None:
    """Images have a known form and type and are not all one grey; masks and boxes fit them."""
    data = opened(subject)
    flat = True
    for sample in _few(data):
        image = data.read(sample)
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
            return f"'{sample.image}' has the shape {image.shape}."
        if image.dtype not in (np.uint8, np.uint16, np.float32):
            return f"'{sample.image}' is {image.dtype}, none of uint8, uint16, float32."
        if not np.isfinite(image).all():
            return f"'{sample.image}' holds values that are not finite."
        flat &= bool(image.max() == image.min())
        if problem := _misfit(data, sample, image.shape[:2]):
            return problem
    return "Every image that was read is of one grey." if flat else None


RULES: list[Rule[type[Dataset]]] = [
    has_name_and_summary, options_have_types, info_is_complete, licence_and_citation, says_what_is_missing, opens, paths_are_there,
    labels_are_classes, groups_are_sound, order_is_stable, values_are_in_range,
]  # fmt: skip


def opened(subject: DatasetSubject) -> Dataset:
    """The data set with its options; skips where it needs a root and none is given."""
    root = subject.settings.root if subject.value.needs_root else None
    if subject.value.needs_root and root is None:
        raise NotChecked("It needs the data: give their folder with --root (in pytest: root=...).")
    try:
        data: Dataset = call(subject.value, subject.spec, root)
    except UsageError as error:
        raise needs_options(subject, error) from error
    return data


def _samples(data: Dataset) -> Sequence[Sample]:
    return data.samples()


def _few(data: Dataset) -> Iterator[Sample]:
    left: defaultdict[str, int] = defaultdict(lambda: _READ)
    for sample in _samples(data):
        if left[sample.label] > 0:
            left[sample.label] -= 1
            yield sample


def _misfit(data: Dataset, sample: Sample, size: tuple[int, ...]) -> str | None:
    mask = data.mask(sample)
    if mask is not None and (mask.shape != size or mask.dtype != np.bool_):
        return f"The mask of '{sample.image}' is {mask.dtype} {mask.shape}, the image {size}; it must be bool of that shape."
    if sample.box is not None:
        left, top, right, bottom = sample.box
        if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
            return f"The box {tuple(sample.box)} of '{sample.image}' is not inside its {size[1]} × {size[0]} pixels."
    return None


def _finds_classes(subject: DatasetSubject) -> bool:
    """Whether it reads the user's own files, so that its classes and its source are theirs to know."""
    return not subject.value.info.classes and subject.value.classes is not Dataset.classes


class _Entries:
    """What `os.scandir` gives: an iterator that is a context too."""

    def __init__(self, entries: Iterator[os.DirEntry[str]]):
        self._entries = entries

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""


@contextlib.contextmanager
def _listed_backwards() -> Iterator[None]:
    """A file system that lists every folder in the opposite order."""
    scan, names = os.scandir, os.listdir

    def scandir(*where: Any) -> Any:
        with scan(*where) as entries:
            return _Entries(reversed(list(entries)))

    with (
        mock.patch.object(os, "scandir", scandir),
        mock.patch.object(os, "listdir", lambda *where: names(*where)[::-1]),
    ):
        yield
