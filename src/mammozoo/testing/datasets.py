"""What a data set promises: terms of use, and samples that exist, with labels and groups, always in one order."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, get_args
from unittest import mock

import numpy as np

from mammozoo.config.names import call
from mammozoo.data.dataset import Dataset, Modality, Sample
from mammozoo.errors import MammozooError, NotFoundError, UsageError
from mammozoo.testing.check import NotChecked, Rule, Subject, rule
from mammozoo.testing.common import build, has_name_and_summary, options_have_types

_READ = 3  # images of each class that are opened; all of them would take minutes

DatasetSubject = Subject[type[Dataset]]


@rule()
def info_is_complete(subject: DatasetSubject) -> None:
    """Title, modality and classes are stated; classes may be found on disk instead.

    Lists, reports and model cards show it. Fill in `info`: a title, a modality, and at least two classes.
    """
    info = subject.value.info
    assert info.title, "`info` has no title."
    known = get_args(Modality)
    assert info.modality in known, f"The modality '{info.modality}' is none of {', '.join(known)}."
    assert len(set(info.classes)) == len(info.classes), "`info.classes` names a class twice."
    assert len(info.classes) >= 2 or _reads_own_files(subject), f"`info` names {len(info.classes)} classes."


@rule()
def licence_and_citation(subject: DatasetSubject) -> None:
    """Licence, citation and address are stated; generated data and the user's own need no citation.

    Whoever trains on it must know whether they may, and whom to cite. Fill in `info.license`, `info.citation` and `info.url`;
    'unclear' is a valid answer.
    """
    info = subject.value.info
    assert info.license, "`info` states no licence."
    for key in ("citation", "url"):
        assert getattr(info, key) or info.synthetic or _reads_own_files(subject), f"`info` has no {key}."


@rule()
def says_what_is_missing(subject: DatasetSubject) -> None:
    """Without a root, with one that is not there and with an empty one it raises an error of mammozoo.

    A wrong --root is the commonest mistake; the message must help. Call `super().__init__(root)`, and raise NotFoundError or
    UsageError where the folder holds nothing of yours.
    """
    if not subject.value.needs_root:
        return
    for root in (None, Path("a/folder/that/nobody/has")):
        with contextlib.suppress(UsageError, NotFoundError):
            call(subject.value, subject.spec, root)
            raise AssertionError(f"root={root} raises nothing.")
    with tempfile.TemporaryDirectory() as empty, contextlib.suppress(MammozooError):
        samples = call(subject.value, subject.spec, Path(empty)).samples()
        raise AssertionError(f"An empty folder raises nothing and gives {len(samples)} samples.")


@rule()
def opens(subject: DatasetSubject) -> None:
    """It opens with its root and lists at least one sample.

    Everything begins with the list of samples. Give --root the folder as its source gives it; if that is it, look at `samples`.
    """
    assert len(_opened(subject).samples()), "`samples` gives none."


@rule(opens)
def paths_are_there(subject: DatasetSubject) -> None:
    """Images and masks are relative paths of files that exist, and no image is there twice.

    Files are named in splits and predictions that must fit on another machine. Give each image its path below the root, with '/',
    once.
    """
    data = _opened(subject)
    in_files = data.root is not None and type(data).read is Dataset.read  # else images may be arrays in one file
    for image, times in Counter(sample.image for sample in data.samples()).items():
        assert times == 1, f"The image '{image}' is there {times} times."
    for name in (name for sample in data.samples() for name in (sample.image, *sample.masks)):
        path = PurePosixPath(name)
        relative = not (path.is_absolute() or "\\" in name or ".." in path.parts or ":" in name[:2])
        assert relative, f"'{name}' is not a relative path with forward slashes."
        assert not in_files or data.path(name).is_file(), f"'{name}' does not exist under the root."


@rule(opens)
def labels_are_classes(subject: DatasetSubject) -> None:
    """Every label is a class, and every class has a sample.

    A label outside the classes stops a training, a class without images makes its scores undefined. Let `samples` use the names of
    `classes`.
    """
    data = _opened(subject)
    labels = {sample.label for sample in data.samples()}
    for label in sorted(labels):
        assert label in data.classes, f"The label '{label}' is none of the classes {', '.join(data.classes)}."
    for name in data.classes:
        assert name in labels, f"No sample has the class '{name}'."


@rule(opens)
def groups_are_sound(subject: DatasetSubject) -> None:
    """Patients and lesions are names or None; a lesion belongs to one patient and to one class.

    Splits keep the images of a patient together, by these names. Give None where the patient is not known, and name a lesion
    uniquely in the whole data set.
    """
    owners: dict[tuple[str, str], set[str]] = defaultdict(set)
    for sample in _opened(subject).samples():
        for key, value in (("patient", sample.patient), ("lesion", sample.lesion)):
            assert value is None or (isinstance(value, str) and value.strip()), (
                f"The {key} of '{sample.image}' is {value!r}, neither a name nor None."
            )
        if sample.lesion is not None:
            owners[sample.lesion, "patients"].update([sample.patient] if sample.patient is not None else [])
            owners[sample.lesion, "classes"].add(sample.label)
    for (lesion, kind), names in owners.items():
        assert len(names) <= 1, f"The lesion '{lesion}' belongs to {len(names)} {kind}."


@rule(opens)
def order_is_stable(subject: DatasetSubject) -> None:
    """Two readings give the same samples in the same order, also where folders are listed backwards.

    Seeds and splits mean the same on every machine only if the order does, and file systems list in any order. Sort the files
    that you list.
    """
    first = list(_opened(subject).samples())
    assert first == list(_opened(subject).samples()), "A second reading gives other samples, or another order."
    with _listed_backwards():
        again = list(_opened(subject).samples())
    assert first == again, "The order follows that in which the file system lists its files."


@rule(opens)
def values_are_in_range(subject: DatasetSubject) -> None:
    """Images have a known form and type and are not all one grey; masks and boxes fit them.

    Networks see what `read` gives, stretched to 8 bits. Return (H, W) or (H, W, 3) as uint8, uint16 or finite float32.
    """
    data, count, is_flat = _opened(subject), Counter[str](), True
    for sample in data.samples():
        count[sample.label] += 1
        if count[sample.label] <= _READ:
            is_flat &= _check_image(data, sample)
    assert not is_flat, "Every image that was read is of one grey."


RULES: list[Rule[type[Dataset]]] = [
    has_name_and_summary, options_have_types, info_is_complete, licence_and_citation, says_what_is_missing, opens, paths_are_there,
    labels_are_classes, groups_are_sound, order_is_stable, values_are_in_range,
]  # fmt: skip


def _opened(subject: DatasetSubject) -> Dataset:
    """The data set with its options; skips if it needs a root and none is given."""
    root = subject.settings.root if subject.value.needs_root else None
    if subject.value.needs_root and root is None:
        raise NotChecked("It needs the data: give their folder with --root (in pytest: root=...).")
    return build(subject, subject.value, root)


def _check_image(data: Dataset, sample: Sample) -> bool:
    """Check one image with its mask and box; returns whether it is of one grey."""
    image, mask = data.read(sample), data.mask(sample)
    form = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    assert form and image.size, f"'{sample.image}' has the shape {image.shape}."
    known = image.dtype in (np.uint8, np.uint16, np.float32)
    assert known, f"'{sample.image}' is {image.dtype}, none of uint8, uint16, float32."
    assert np.isfinite(image).all(), f"'{sample.image}' holds values that are not finite."
    height, width = size = image.shape[:2]
    assert mask is None or (mask.shape == size and mask.dtype == np.bool_), (
        f"The mask of '{sample.image}' is {mask.dtype} {mask.shape}, the image {size}; it must be bool of that shape."
    )
    if sample.box is not None:
        left, top, right, bottom = sample.box
        assert 0 <= left < right <= width and 0 <= top < bottom <= height, (
            f"The box {tuple(sample.box)} of '{sample.image}' is not inside its {width} × {height} pixels."
        )
    return bool(image.max() == image.min())


def _reads_own_files(subject: DatasetSubject) -> bool:
    """Whether it reads the user's own files, whose classes and source only the user knows."""
    return not subject.value.info.classes and subject.value.classes is not Dataset.classes


class _Entries(Iterator[Any]):
    """The entries of a folder backwards, with the methods of `os.scandir`'s iterator."""

    def __init__(self, *folder: Any):
        with _scandir(*folder) as entries:
            self._entries = reversed(list(entries))

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Nothing is open."""


_scandir, _listdir = os.scandir, os.listdir


@contextlib.contextmanager
def _listed_backwards() -> Iterator[None]:
    """A file system that lists every folder in the opposite order."""
    with (
        mock.patch.object(os, "scandir", _Entries),
        mock.patch.object(os, "listdir", lambda *folder: _listdir(*folder)[::-1]),
    ):
        yield
