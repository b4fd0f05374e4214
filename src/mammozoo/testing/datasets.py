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
from mammozoo.testing.check import NotChecked, needs, rule
from mammozoo.testing.common import WithOptions

_READ = 3  # images of each class that are opened; all of them would take minutes


class DatasetRules(WithOptions[type[Dataset]]):
    """Tried on the data in the folder that was given."""

    @rule("Lists, reports and model cards show it. Fill in `info`: a title, a modality, and at least two classes.")
    def info_is_complete(self) -> None:
        """Title, modality and classes are stated; classes may be found on disk instead."""
        info = self.value.info
        assert info.title, "`info` has no title."
        known = get_args(Modality)
        assert info.modality in known, f"The modality '{info.modality}' is none of {', '.join(known)}."
        assert len(set(info.classes)) == len(info.classes), "`info.classes` names a class twice."
        assert len(info.classes) >= 2 or self._reads_own_files, f"`info` names {len(info.classes)} classes."

    @rule("Users must know if they may, and whom to cite. Fill in `license` ('unclear' is valid), `citation`, `url`.")
    def licence_and_citation(self) -> None:
        """Licence, citation and address are stated; generated data and the user's own need no citation."""
        info = self.value.info
        assert info.license, "`info` states no licence."
        for key in ("citation", "url"):
            assert getattr(info, key) or info.synthetic or self._reads_own_files, f"`info` has no {key}."

    @rule("A wrong --root is common. Call `super().__init__(root)`; raise NotFoundError where nothing of yours is.")
    def says_what_is_missing(self) -> None:
        """Without a root, with one that is not there and with an empty one it raises an error of mammozoo."""
        if not self.value.needs_root:
            return
        for root in (None, Path("a/folder/that/nobody/has")):
            with contextlib.suppress(UsageError, NotFoundError):
                call(self.value, self.spec, root)
                raise AssertionError(f"root={root} raises nothing.")
        with tempfile.TemporaryDirectory() as empty, contextlib.suppress(MammozooError):
            samples = call(self.value, self.spec, Path(empty)).samples()
            raise AssertionError(f"An empty folder raises nothing and gives {len(samples)} samples.")

    @rule("Everything begins with the samples. Give --root the folder as its source gives it, or mend `samples`.")
    def opens(self) -> None:
        """It opens with its root and lists at least one sample."""
        assert len(self._opened().samples()), "`samples` gives none."

    @needs(opens)
    @rule("Splits name files, also on another machine. Give each image once, by its path below the root, with '/'.")
    def paths_are_there(self) -> None:
        """Images and masks are relative paths of files that exist, and no image is there twice."""
        data = self._opened()
        in_files = data.root is not None and type(data).read is Dataset.read  # else images may be arrays in one file
        for image, times in Counter(sample.image for sample in data.samples()).items():
            assert times == 1, f"The image '{image}' is there {times} times."
        for name in (name for sample in data.samples() for name in (sample.image, *sample.masks)):
            path = PurePosixPath(name)
            relative = not (path.is_absolute() or "\\" in name or ".." in path.parts or ":" in name[:2])
            assert relative, f"'{name}' is not a relative path with forward slashes."
            assert not in_files or data.path(name).is_file(), f"'{name}' does not exist under the root."

    @needs(opens)
    @rule("Other labels stop a training; empty classes have no scores. Let `samples` use the names of `classes`.")
    def labels_are_classes(self) -> None:
        """Every label is a class, and every class has a sample."""
        data = self._opened()
        labels = {sample.label for sample in data.samples()}
        for label in sorted(labels):
            assert label in data.classes, f"The label '{label}' is none of the classes {', '.join(data.classes)}."
        for name in data.classes:
            assert name in labels, f"No sample has the class '{name}'."

    @needs(opens)
    @rule("Splits keep a patient's images together by these names. Give None if unknown; name each lesion uniquely.")
    def groups_are_sound(self) -> None:
        """Patients and lesions are names or None; a lesion belongs to one patient and to one class."""
        owners: dict[tuple[str, str], set[str]] = defaultdict(set)
        for sample in self._opened().samples():
            for key, value in (("patient", sample.patient), ("lesion", sample.lesion)):
                sound = value is None or (isinstance(value, str) and value.strip())
                assert sound, f"The {key} of '{sample.image}' is {value!r}, neither a name nor None."
            if sample.lesion is not None:
                owners[sample.lesion, "patients"].update([sample.patient] if sample.patient is not None else [])
                owners[sample.lesion, "classes"].add(sample.label)
        for (lesion, kind), names in owners.items():
            assert len(names) <= 1, f"The lesion '{lesion}' belongs to {len(names)} {kind}."

    @needs(opens)
    @rule("Seeds and splits follow the order, and file systems list in any. Sort the files that you list.")
    def order_is_stable(self) -> None:
        """Two readings give the same samples in the same order, also where folders are listed backwards."""
        first = list(self._opened().samples())
        assert first == list(self._opened().samples()), "A second reading gives other samples, or another order."
        backwards = mock.patch.object(os, "listdir", lambda *folder: _listdir(*folder)[::-1])
        with backwards, mock.patch.object(os, "scandir", _Backwards):
            again = list(self._opened().samples())
        assert first == again, "The order follows that in which the file system lists its files."

    @needs(opens)
    @rule("Networks see what `read` gives. Return (H, W) or (H, W, 3) as uint8, uint16 or finite float32.")
    def values_are_in_range(self) -> None:
        """Images have a known form and type and are not all one grey; masks and boxes fit them."""
        data, count, is_flat = self._opened(), Counter[str](), True
        for sample in data.samples():
            count[sample.label] += 1
            if count[sample.label] <= _READ:
                is_flat &= _check_image(data, sample)
        assert not is_flat, "Every image that was read is of one grey."

    def _opened(self) -> Dataset:
        """The data set with its options; skips if it needs a root and none is given."""
        root = self.settings.root if self.value.needs_root else None
        if self.value.needs_root and root is None:
            raise NotChecked("It needs the data: give their folder with --root (in pytest: root=...).")
        return self._make(self.value, root)

    @property
    def _reads_own_files(self) -> bool:
        """Whether it reads the user's own files, whose classes and source only the user knows."""
        return not self.value.info.classes and self.value.classes is not Dataset.classes


def _check_image(data: Dataset, sample: Sample) -> bool:
    """Check one image with its mask and box; returns whether it is of one grey."""
    image, mask, name = data.read(sample), data.mask(sample), sample.image
    form = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    assert form and image.size, f"'{name}' has the shape {image.shape}."
    known = image.dtype in (np.uint8, np.uint16, np.float32)
    assert known, f"'{name}' is {image.dtype}, none of uint8, uint16, float32."
    assert np.isfinite(image).all(), f"'{name}' holds values that are not finite."
    height, width = size = image.shape[:2]
    if mask is not None:
        fits = mask.shape == size and mask.dtype == np.bool_
        assert fits, f"The mask of '{name}' is {mask.dtype} {mask.shape}; it must be bool and {size}."
    if sample.box is not None:
        left, top, right, bottom = sample.box
        fits = 0 <= left < right <= width and 0 <= top < bottom <= height
        assert fits, f"The box {tuple(sample.box)} of '{name}' is not inside its {width} × {height} pixels."
    return bool(image.max() == image.min())


_scandir, _listdir = os.scandir, os.listdir


class _Backwards(Iterator[Any]):
    """The entries of a folder backwards, with the methods of `os.scandir`'s iterator."""

    def __init__(self, *folder: Any):
        with _scandir(*folder) as entries:
            self._entries = reversed(list(entries))

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> _Backwards:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Nothing is open."""
