"""The images to explain, each with its lesion, its class, and the fold whose model was not trained on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.config.sections import Root
from mammozoo.data.io.images import read_image, read_mask
from mammozoo.data.io.listing import masks_beside
from mammozoo.data.io.regions import Box
from mammozoo.data.joined import open_dataset, parse_datasets, without_paths
from mammozoo.data.loaded import open_data
from mammozoo.data.splits.leakage import seen_before
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError
from mammozoo.evaluation.evaluate import leak_stamps
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.models.config import ModelConfig
from mammozoo.progress import Progress


@dataclass(frozen=True)
class Case:
    """An image to explain; what is not known of it is None."""

    name: str
    stem: str  #: path of its files below the output folder, without a suffix
    read: Callable[[], npt.NDArray[Any]]  #: returns the image (H, W) or (H, W, 3)
    mask: Callable[[], npt.NDArray[np.bool_] | None]  #: returns the lesion (H, W)
    label: str | None = None
    group: int = 0  #: samples of one group are not independent
    fold: str | None = None  #: the fold whose model explains it; a model alone has none
    box: Callable[[], Box | None] = lambda: None


def of_files(files: Sequence[Path], mask: Path | None = None) -> list[Case]:
    """A case for each image file, each a group of its own; its mask is `mask`, or the masks beside it."""
    cases: list[Case] = []
    for path, stem in zip(files, free_stems(path.name for path in files), strict=True):
        masks = [mask] if mask else masks_beside(path)
        cases.append(Case(path.as_posix(), stem, partial(read_image, path), partial(_union, masks), group=len(cases)))
    return cases


def of_dataset(
    folder: Path,
    config: ModelConfig,
    name: str,
    root: Root | None,
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
        NotFoundError, IncompatibleError: the data set lacks a sample of the run, or has another class for it.
    """
    stamps: list[str] = []
    unreadable: dict[str, str] = {}
    rows: list[tuple[str, str, int, str | None]]
    if (folder / "predictions.csv").is_file() and parse_datasets(without_paths(name)) == parse_datasets(
        config.training.dataset
    ):
        if part not in (None, "test", "val"):
            raise UsageError(f"--part is test or val, not '{part}'.")
        if part == "val":
            progress.note("Validation images: the epoch and the threshold were chosen on them.")
        dataset, run = open_dataset(name, root), read_predictions(folder).of(part or "test").by_repeat()[0]
        labels = [run.outcome.classes[number] for number in run.outcome.labels]
        rows = list(zip(run.samples.tolist(), labels, run.outcome.groups.tolist(), run.folds.tolist(), strict=True))
    else:
        if part is not None:
            raise UsageError(f"--part goes with a run and its own data set; '{folder}' is not a run on '{name}'.")
        data = open_data(name, root, config.asked, config.input, "group", progress, unreadable, partly=True)
        seen = seen_before(data, np.arange(len(data.samples)), config.training.seen)
        stamps, dataset = leak_stamps(data, seen, progress), data.dataset
        labels = [data.classes[number] for number in data.labels]
        rows = list(zip(data.names, labels, data.groups.tolist(), [None] * len(labels), strict=True))
    known, cases = {sample.image: sample for sample in dataset.samples()}, []
    # Each is a case, whose `read` says again why it cannot be read.
    rows += [(image, known[image].label, len(rows) + n, None) for n, image in enumerate(unreadable)]
    for (image, label, group, fold), stem in zip(rows, free_stems(row[0] for row in rows), strict=True):
        if image not in known:
            raise NotFoundError(
                f"The run was tested on '{image}', and the data set at '{dataset.root or root}' has no such image."
            )
        sample = known[image]
        # A label that the data set does not have is a merged class, which only the recipe knows.
        if sample.label != label and label in dataset.classes:
            raise IncompatibleError(f"'{image}' was {label} in the run, and is {sample.label} in '{dataset.root}'.")
        read, mask = partial(dataset.read, sample), partial(dataset.mask, sample)
        cases.append(Case(image, stem, read, mask, label, group, fold, partial(dataset.box, sample)))
    if limit is not None and limit < len(cases):
        chosen = np.random.default_rng(0).permutation(len(cases))[:limit]
        cases = [cases[i] for i in sorted(chosen)]
    return cases, stamps


def free_stems(names: Iterable[str]) -> list[str]:
    """A path for the files of each image: its name without suffix, numbered if taken (`a`, `a-2`)."""
    stems: dict[str, str] = {}  # by lower case: some file systems do not tell A from a
    for name in names:
        path = Path(name)
        # Without `..` and a root the files stay in the output folder.
        stem = "/".join(part for part in path.with_suffix("").parts if part not in ("..", path.anchor))
        candidates = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        free = next(candidate for candidate in candidates if candidate.lower() not in stems)
        stems[free.lower()] = free
    return list(stems.values())


def _union(masks: Sequence[Path]) -> npt.NDArray[np.bool_] | None:
    arrays = [read_mask(path) for path in masks]
    if len({mask.shape for mask in arrays}) > 1:
        names = ", ".join(f"'{path}'" for path in masks)
        raise IncompatibleError(f"The masks {names} differ in size: they cannot be of one image.")
    return np.logical_or.reduce(arrays) if arrays else None
