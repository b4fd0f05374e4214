"""The images to explain, each with its lesion, its class, and the fold whose model was not trained on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import parse
from mammozoo.data.dataset import Dataset
from mammozoo.data.io.images import read_image, read_mask
from mammozoo.data.io.regions import Box
from mammozoo.data.loaded import Data, open_data, open_dataset
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError
from mammozoo.evaluation.evaluate import leak_stamps
from mammozoo.evaluation.localisation import find_masks
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.models.config import ModelConfig
from mammozoo.progress import Progress


@dataclass(frozen=True)
class Case:
    """An image to explain.

    Attributes:
        name: its name in the results.
        stem: path of its files below the output folder, without a suffix.
        read: returns the image (H, W) or (H, W, 3).
        mask: returns the lesion (H, W), None if unknown.
        box: returns the lesion's box, None if unknown.
        label: its true class, None if unknown.
        group: samples of one group are not independent.
        fold: the fold whose model explains it, None for a model alone.
    """

    name: str
    stem: str
    read: Callable[[], npt.NDArray[Any]]
    mask: Callable[[], npt.NDArray[np.bool_] | None]
    label: str | None = None
    group: int = 0
    fold: str | None = None
    box: Callable[[], Box | None] = lambda: None


def of_files(files: Sequence[Path], mask: Path | None = None) -> list[Case]:
    """A case for each image file, each a group of its own; its mask is `mask`, or the masks beside it."""
    cases = []
    for number, (path, stem) in enumerate(zip(files, free_stems([path.name for path in files]), strict=True)):
        masks = [mask] if mask else find_masks(path)
        read, read_masks = functools.partial(read_image, path), functools.partial(_union, masks)
        cases.append(Case(path.as_posix(), stem, read, read_masks, group=number))
    return cases


def of_data(data: Data) -> list[Case]:
    """A case for each sample of a data set."""
    rows = [
        (sample.image, data.classes[label], int(group), None)
        for sample, label, group in zip(data.samples, data.labels, data.groups, strict=True)
    ]
    return _of_samples(data.dataset, rows)


def of_run(folder: Path, part: str, dataset: Dataset) -> list[Case]:
    """A case for each sample of a run's `part` (test or val), with the fold whose model was not trained on it.

    Raises:
        NotFoundError: the run has no predictions, or the data set no such sample.
        IncompatibleError: the table is damaged, or a sample has another class in the data set than in the run.
    """
    rows = read_predictions(folder).of(part)
    labels = [rows.outcome.classes[number] for number in rows.outcome.labels]
    groups, folds = rows.outcome.groups.tolist(), rows.folds.tolist()
    return _of_samples(dataset, list(zip(rows.samples.tolist(), labels, groups, folds, strict=True)))


def of_dataset(
    folder: Path,
    config: ModelConfig,
    name: str,
    root: Path | None,
    *,
    part: str | None = None,
    limit: int | None = None,
    progress: Progress,
) -> tuple[list[Case], list[str]]:
    """The cases of the data set `name` for the model in `folder`, and the stamps that they put on the result.

    Of the data set that a run was trained on these are the images of its `part` (`test` or `val`), each with its fold; of
    another data set all images. `limit` draws that many with seed 0.

    Raises:
        UsageError: another part, or a part of a data set that the model in `folder` was not trained on.
    """
    stamps: list[str] = []
    if (folder / "predictions.csv").is_file() and str(parse(name)) == str(parse(config.training.dataset)):
        if part not in (None, "test", "val"):
            raise UsageError(f"--part is test or val, not '{part}'.")
        cases = of_run(folder, part or "test", open_dataset(name, root))
        if part == "val":
            progress.note("Validation images: the epoch and the threshold were chosen on them.")
    else:
        if part is not None:
            raise UsageError(f"--part goes with a run and its own data set; '{folder}' is not a run on '{name}'.")
        data = open_data(name, root, config.asked, config.input, "group", progress)
        stamps = leak_stamps(data, config, progress)
        cases = of_data(data)
    if limit is not None and limit < len(cases):
        chosen = np.random.default_rng(0).permutation(len(cases))[:limit]
        cases = [cases[i] for i in sorted(chosen)]
    return cases, stamps


def free_stems(names: Sequence[str]) -> list[str]:
    """A path for the files of each image: its name without suffix, numbered if taken (`a`, `a-2`)."""
    taken: set[str] = set()
    stems = []
    for name in names:
        path = Path(name)
        # Without `..` and a root the files stay in the output folder.
        stem = candidate = "/".join(part for part in path.with_suffix("").parts if part not in ("..", path.anchor))
        number = 2
        while candidate.lower() in taken:  # some file systems do not tell A from a
            candidate, number = f"{stem}-{number}", number + 1
        taken.add(candidate.lower())
        stems.append(candidate)
    return stems


def _of_samples(dataset: Dataset, rows: Sequence[tuple[str, str, int, str | None]]) -> list[Case]:
    known = {sample.image: sample for sample in dataset.samples()}
    cases = []
    for (name, label, group, fold), stem in zip(rows, free_stems([row[0] for row in rows]), strict=True):
        if name not in known:
            raise NotFoundError(
                f"The run was tested on '{name}', and the data set at '{dataset.root}' has no such image."
            )
        sample = known[name]
        # A label that the data set does not have is a merged class, which only the recipe knows.
        if sample.label != label and label in dataset.classes:
            raise IncompatibleError(f"'{name}' was {label} in the run, and is {sample.label} in '{dataset.root}'.")
        read, mask = functools.partial(dataset.read, sample), functools.partial(dataset.mask, sample)
        cases.append(Case(name, stem, read, mask, label, group, fold, functools.partial(dataset.box, sample)))
    return cases


def _union(masks: Sequence[Path]) -> npt.NDArray[np.bool_] | None:
    arrays = [read_mask(path) for path in masks]
    if len({mask.shape for mask in arrays}) > 1:
        names = ", ".join(f"'{path}'" for path in masks)
        raise IncompatibleError(f"The masks {names} differ in size: they cannot be of one image.")
    return np.logical_or.reduce(arrays) if arrays else None
