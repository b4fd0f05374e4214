"""A run's folder read for its report: what was asked, what was trained, what each test image was taken for."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mammozoo.config.names import parse
from mammozoo.config.recipe import Recipe
from mammozoo.data.dataset import DatasetInfo
from mammozoo.data.splits.make import PARTS, Split
from mammozoo.errors import IncompatibleError, NotFoundError
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions, read_predictions
from mammozoo.evaluation.scores import Score
from mammozoo.models.config import ModelConfig, read_config
from mammozoo.plugins import registry
from mammozoo.training.run_directory import RunDirectory


@dataclass(frozen=True, eq=False)
class Tested:
    """One test image and what the model of its fold said; `p` is the probability of each class."""

    sample: str
    fold: str
    group: int
    patient: str
    label: str
    decision: str
    p: Mapping[str, float]

    @property
    def wrong(self) -> bool:
        """Whether the decision is not the label."""
        return self.decision != self.label


@dataclass(frozen=True)
class Fold:
    """One trained split: its model's config, its epochs, and (sample, group, part) of every image in it."""

    name: str
    config: ModelConfig
    history: tuple[Mapping[str, str], ...]
    split: tuple[tuple[str, int, str], ...]

    def crossing(self) -> int:
        """How many groups have images in more than one part."""
        parts: dict[int, set[str]] = {}
        for _, group, part in self.split:
            parts.setdefault(group, set()).add(part)
        return sum(len(found) > 1 for found in parts.values())

    def digest(self) -> str:
        """SHA-256 of the split, computed again from `split.csv`."""
        indices = {part: np.array([i for i, row in enumerate(self.split) if row[2] == part], np.intp) for part in PARTS}
        return Split(self.name, **indices).digest([row[0] for row in self.split])


@dataclass(frozen=True)
class Content:
    """All that a report is written from. `images` and `outcome` are in one order."""

    run: RunDirectory
    config: ModelConfig
    folds: tuple[Fold, ...]
    images: tuple[Tested, ...]
    outcome: Outcome
    scores: Mapping[str, Score]
    info: DatasetInfo | None

    def of_fold(self, name: str) -> Outcome:
        """The outcome of one fold's test images."""
        return self.outcome.take(np.flatnonzero([image.fold == name for image in self.images]))

    @property
    def recipe(self) -> Recipe:
        """The recipe, resolved."""
        return self.run.recipe

    @property
    def facts(self) -> Mapping[str, Any]:
        """The content of `run.json`."""
        return self.run.facts

    @property
    def synthetic(self) -> bool:
        """Whether the images were generated."""
        return self.info.synthetic if self.info else self.config.training.synthetic


def read(folder: Path) -> Content:
    """Everything that a complete run holds.

    Raises:
        NotFoundError: there is no run, or it did not come to its end.
        IncompatibleError: its files are damaged or of another version.
    """
    run = RunDirectory.open(folder)
    if not (folder / "predictions.csv").is_file():
        raise NotFoundError(
            f"The run at '{folder}' is not complete (status '{run.facts.get('status', 'unknown')}'): it has no "
            "predictions.csv, and a report needs one. Train it again."
        )
    config = read_config(folder)
    try:
        tested = read_predictions(folder).of("test")
        scores = _scores(json.loads((folder / "scores.json").read_text(encoding="utf-8")))
        names = sorted(set(tested.folds.tolist()))
        folds = tuple(_fold(folder, name) for name in names)
    except (OSError, KeyError, ValueError) as error:
        raise IncompatibleError(f"The files of the run at '{folder}' do not fit together: {error!r}.") from None
    if not len(tested):
        raise IncompatibleError(f"The run at '{folder}' has no test image in its predictions.csv.")
    return Content(run, config, folds, _images(tested), tested.outcome, scores, _info(run.recipe))


def auc_of(outcome: Outcome) -> float | None:
    """Area under the ROC curve, for more than two classes the mean of each against the rest; None where a class is missing."""
    from sklearn.metrics import roc_auc_score

    if len(np.unique(outcome.labels)) < len(outcome.classes):
        return None
    if outcome.binary:
        return float(roc_auc_score(outcome.labels, outcome.probabilities[:, 1]))
    return float(roc_auc_score(outcome.labels, outcome.probabilities, multi_class="ovr"))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _images(tested: Predictions) -> tuple[Tested, ...]:
    o = tested.outcome
    return tuple(
        Tested(
            str(tested.samples[i]),
            str(tested.folds[i]),
            int(o.groups[i]),
            str(tested.patients[i]),
            o.classes[o.labels[i]],
            o.classes[o.decisions[i]],
            dict(zip(o.classes, o.probabilities[i].tolist(), strict=True)),
        )
        for i in range(len(tested))
    )


def _fold(folder: Path, name: str) -> Fold:
    place = folder / name
    split = tuple((row["sample"], int(row["group"]), row["part"]) for row in _rows(place / "split.csv"))
    return Fold(name, read_config(place), tuple(_rows(place / "history.csv")), split)


def _scores(content: Mapping[str, Any]) -> dict[str, Score]:
    """Those entries that are scores; a later version may add others."""
    return {
        name: Score(entry["value"], entry.get("low"), entry.get("high"), entry.get("n", 0))
        for name, entry in content.items()
        if isinstance(entry, dict) and "value" in entry
    }


def _info(recipe: Recipe) -> DatasetInfo | None:
    try:
        info: DatasetInfo = registry().get("datasets", parse(recipe.dataset).name).info
    except NotFoundError:
        return None  # its plugin is not installed here; the report goes without the data set's description
    return info
