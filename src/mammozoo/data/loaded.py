"""A whole data set in hand: samples, labels, groups and pixels, and which of them some model has seen before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import call, parse
from mammozoo.data.classes import read_classes
from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.decoding import Images, decode_cached
from mammozoo.data.duplicates.grouping import group
from mammozoo.data.duplicates.matching import near_duplicates
from mammozoo.data.preprocessing import Input
from mammozoo.errors import UsageError
from mammozoo.plugins import registry
from mammozoo.progress import Progress

#: What belongs together: `group` is patient or near-duplicate, `patient` trusts the data set's own names of patients.
By = Literal["group", "patient"]


@dataclass(frozen=True)
class Data:
    """A data set ready to be split: its samples of the chosen classes, decoded, numbered and grouped.

    Attributes:
        samples: labelled by class: where a class is several labels in one, by its name.
        labels: (N,) class numbers.
        groups: (N,) group numbers; samples of one group are of one patient or near-duplicates.
        merged: the classes as they were asked for, where one is several labels of the data set in one; else empty.
    """

    dataset: Dataset
    samples: list[Sample]
    classes: tuple[str, ...]
    labels: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]
    images: Images
    merged: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The samples' names."""
        return [sample.image for sample in self.samples]


def open_dataset(name: str, root: Path | None) -> Dataset:
    """The data set that `name[:options]` names, at `root`; nothing of it is read yet.

    Raises:
        NotFoundError, UsageError: no such data set, or nothing at the root.
    """
    spec = parse(name)
    dataset: Dataset = call(registry().get("datasets", spec.name), spec, root)
    return dataset


def open_data(
    name: str, root: Path | None, classes: tuple[str, ...] | None, input: Input, by: By, progress: Progress
) -> Data:
    """Read a data set: samples, labels, groups, pixels. `classes` may hold several labels as one, `lesion=benign|malignant`.

    Raises:
        NotFoundError, UsageError, UnreadableImageError: no such data set or class, or an image that cannot be read.
    """
    dataset = open_dataset(name, root)
    found = list(dataset.samples())
    written = tuple(classes or dataset.classes)
    chosen = read_classes(written, dataset.classes, name)
    samples = [
        replace(sample, label=chosen.names[chosen.numbers[sample.label]])
        for sample in found
        if sample.label in chosen.numbers
    ]
    labels = np.array([chosen.names.index(sample.label) for sample in samples], np.intp)
    for number, wanted in enumerate(chosen.names):
        if not (labels == number).any():
            raise UsageError(f"Data set '{name}' has no image of class '{wanted}' at '{root}'.")
    for note in dataset.notes:
        progress.note(note)
    progress.start("reading images", len(samples))
    images = decode_cached(dataset, samples, input, progress.advance)
    patients = [sample.patient for sample in samples]
    if by == "patient" and None in patients:
        raise UsageError(f"Data set '{name}' does not name the patient of every image; split by group instead.")
    # Generated images are independent by construction, whatever their looks say.
    duplicates = [] if by == "patient" or dataset.info.synthetic else near_duplicates(images.prints)
    merged = written if chosen.merged else ()
    return Data(dataset, samples, chosen.names, labels, group(patients, duplicates), images, merged)
