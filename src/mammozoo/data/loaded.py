"""A whole data set in memory: samples, labels, groups and pixels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammozoo.config.sections import Root
from mammozoo.data.classes import classes_there, read_classes
from mammozoo.data.dataset import Dataset, Sample, files_of, sets_of
from mammozoo.data.decoding import Images, decode_cached, unreadable_among
from mammozoo.data.duplicates.matching import group, near_duplicates
from mammozoo.data.io.dicom import frame_remarks
from mammozoo.data.io.limits import UnreadableImageError
from mammozoo.data.joined import open_dataset
from mammozoo.data.ood import NAMES
from mammozoo.data.preprocessing import Input
from mammozoo.data.splits.exclusions import Exclusion, counted, read_exclusions, reasons
from mammozoo.errors import UsageError
from mammozoo.progress import Progress

_CONSTANT = 1e-4  # spread of brightness in [0, 1] that no picture of two grey levels has
#: What a group is: `group` joins a patient's images and near-duplicates; `patient` trusts the data set's patient names.
By = Literal["group", "patient"]


@dataclass(frozen=True)
class Data:
    """A data set ready to be split: its samples of the chosen classes, decoded, numbered and grouped."""

    dataset: Dataset
    samples: list[Sample]  # their label is the name of their class, also if the class joins several labels
    classes: tuple[str, ...]
    labels: npt.NDArray[np.intp]  # (N,) class numbers
    groups: npt.NDArray[np.intp]  # (N,) group numbers; samples of one group are of one patient or near-duplicates
    images: Images
    merged: tuple[str, ...] = ()  # the classes as written, if one of them joins several labels of the data set
    left_out: Mapping[str, int] = field(default_factory=dict)  # images of each label that belongs to no class
    excluded: tuple[Exclusion, ...] = ()  # further images of its classes, which a list leaves out

    @cached_property
    def names(self) -> list[str]:
        """The names of the samples."""
        return [sample.image for sample in self.samples]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of all that a fit takes from the data: names, labels, patients, lesions, groups and pixels."""
        rows = [(s.image, s.label, s.patient, s.lesion, int(g)) for s, g in zip(self.samples, self.groups, strict=True)]
        digest = hashlib.sha256(repr((self.classes, rows, self.images.pixels.shape)).encode())
        digest.update(np.ascontiguousarray(self.images.pixels).data)
        return digest.hexdigest()


def open_data(
    name: str,
    root: Root | None,
    classes: tuple[str, ...] | None,
    input: Input,
    by: By,
    progress: Progress,
    unreadable: dict[str, str] | None = None,
    *,
    partly: bool = False,
    exclude: Path | None = None,
) -> Data:
    """Read a data set: samples, labels, groups, pixels. A class may join several labels: `lesion=benign|malignant`.

    `partly` allows for a data set that has not all of the classes.
    Samples that cannot be read are left out if there is a dictionary `unreadable`: it gets their names and the reasons.
    Those in the list `exclude` are left out unread.

    Raises:
        NotFoundError, UsageError, UnreadableImageError: no such data set, class or list, or an image that cannot be read.
    """
    dataset = open_dataset(name, root)
    everything = dataset.samples()
    written = tuple(classes or dataset.classes)
    if partly:
        present = {sample.label for sample in everything}
        written = classes_there(written, [label for label in dataset.classes if label in present], name)
    chosen = read_classes(written, dataset.classes, name)
    samples = [sample for sample in everything if sample.label in chosen.numbers]
    excluded: tuple[Exclusion, ...] = ()
    if exclude is not None:
        samples, excluded = _without_excluded(exclude, everything, samples, name, progress)
    numbers = [chosen.numbers[sample.label] for sample in samples]
    samples = [replace(sample, label=chosen.names[n]) for sample, n in zip(samples, numbers, strict=True)]
    for note in (*dataset.notes, *frame_remarks(files_of(dataset, samples))):
        progress.note(note)  # first, since it may say why a class is empty
    for number, label in enumerate(chosen.names):
        if number not in numbers:
            why = f": the list '{exclude}' leaves none" if excluded else f" at '{root}'"
            raise UsageError(f"Data set '{name}' has no image of class '{label}'{why}.")
    left_out = Counter(sample.label for sample in everything if sample.label not in chosen.numbers)
    for label, count in left_out.items():
        progress.note(f"{count} images of the class '{label}' are left out: the classes are {', '.join(chosen.names)}.")
    progress.start("reading images", len(samples))
    progress.clock.lap("start")
    try:
        images = decode_cached(dataset, samples, input, progress.advance)
    except UnreadableImageError:
        if unreadable is None:
            raise
        unreadable |= unreadable_among(dataset, samples, input)
        kept = [place for place, sample in enumerate(samples) if sample.image not in unreadable]
        samples, numbers = [samples[place] for place in kept], [numbers[place] for place in kept]
        images = decode_cached(dataset, samples, input)
    progress.clock.lap("read")
    if len(constant := np.flatnonzero(images.features[:, NAMES.index("spread")] < _CONSTANT)):
        first = f"the first is '{samples[constant[0]].image}'"
        progress.note(
            f"{len(constant)} of {len(samples)} images have the same value in every pixel; {first}. See `mammozoo data check`."
        )
    patients, sets = [sample.patient for sample in samples], sets_of(dataset, samples)
    if by == "patient" and None in patients:
        raise UsageError(f"Data set '{name}' does not name the patient of every image; split by group instead.")
    pairs = []
    if by != "patient" and not dataset.info.synthetic:  # generated images are independent, even if they look alike
        pairs = near_duplicates(images.fingerprints, patients, sets)
    if torn := [pair for pair in pairs if numbers[pair.i] != numbers[pair.j]]:
        one, other = (f"'{samples[i].image}' ({samples[i].label})" for i in (torn[0].i, torn[0].j))
        progress.note(
            f"{len(torn)} pairs of near-duplicates have two classes, such as {one} and {other}: see `data check`."
        )
    groups = group(patients, pairs)
    if spanning := sum(n > 1 for n in Counter(one for one, _ in {*zip(groups.tolist(), sets, strict=True)}).values()):
        progress.note(f"{spanning} groups have images of more than one data set: near-duplicates across sets.")
    progress.clock.lap("check")
    merged = written if chosen.merged else ()
    labels = np.array(numbers, np.intp)
    return Data(dataset, samples, chosen.names, labels, groups, images, merged, left_out, excluded)


def _without_excluded(
    path: Path, everything: Sequence[Sample], samples: Sequence[Sample], name: str, progress: Progress
) -> tuple[list[Sample], tuple[Exclusion, ...]]:
    """(the samples that the list does not name, its rows of the others); notes count them, and names that are no image's."""
    found, unknown = read_exclusions(path, [sample.image for sample in everything])
    listed = {everything[index].image: one for index, one in found.items()}
    excluded = tuple(listed[sample.image] for sample in samples if sample.image in listed)
    why = f": {counted(reasons(excluded))}" if excluded else ""
    progress.note(f"{len(excluded)} of {len(samples)} images are excluded by the list '{path}'{why}.")
    if unknown:
        first = f"'{unknown[0]}'" + (" is the first" if len(unknown) > 1 else "")
        progress.note(f"'{path}' lists {len(unknown)} images that '{name}' does not have: {first}.")
    return [sample for sample in samples if sample.image not in listed], excluded
