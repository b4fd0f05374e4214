"""A run's folder read for its report: settings, trainings, test predictions, scores."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mammozoo.config.recipe import Recipe
from mammozoo.data.dataset import DatasetInfo
from mammozoo.data.joined import info_of
from mammozoo.data.splits.make import PARTS, digest
from mammozoo.documents import Document
from mammozoo.errors import IncompatibleError, NotFoundError
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import INNER_TEST, Predictions, read_predictions
from mammozoo.evaluation.run_files import read_scores
from mammozoo.evaluation.scores import Score
from mammozoo.models.config import ModelConfig, Threshold, read_config
from mammozoo.models.weights import read_shapes
from mammozoo.plugins import registry
from mammozoo.training.fit_files import read_split
from mammozoo.training.history import EpochRow, read_history
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.account import Account, read_account


@dataclass(frozen=True)
class Fold:
    """One trained split: its model's config, its epochs, and (sample, group, part) of every image in it."""

    name: str
    config: ModelConfig
    history: list[EpochRow]
    split: list[tuple[str, int, str]]

    @property
    def best(self) -> EpochRow:
        """The epoch whose weights were kept: the last one that was the best so far."""
        return ([row for row in self.history if row.best] or self.history)[-1]

    @property
    def threshold(self) -> Threshold | None:
        """The threshold in force."""
        return self.config.thresholds.get(self.config.threshold)

    def crossing(self) -> int:
        """How many groups have images in more than one part."""
        parts_of = Counter(group for group, _ in {(group, part) for _, group, part in self.split})
        return sum(parts > 1 for parts in parts_of.values())

    def digest(self) -> str:
        """SHA-256 of the split, computed again from `split.csv`."""
        return digest({part: [row[0] for row in self.split if row[2] == part] for part in PARTS})


@dataclass(frozen=True)
class Content:
    """All that a report is written from."""

    run: RunDirectory
    config: ModelConfig
    folds: tuple[Fold, ...]  #: of the first repeat
    models: tuple[Fold, ...]  #: every trained model that reports: also inner ones and those of other repeats
    test: Predictions  #: of the test images in the first repeat, each by the model of its fold
    tested: Predictions  #: of the test images by every fold and model
    scores: Mapping[str, Score]
    info: DatasetInfo | None  #: None if the data set's plugin is not installed
    metrics: Mapping[str, Metric]  #: those installed
    account: Account  #: what the run carried out

    @property
    def outcome(self) -> Outcome:
        """Labels, probabilities and decisions of the test images."""
        return self.test.outcome

    def of_fold(self, name: str) -> Outcome:
        """The outcome of one fold's test images."""
        return self.tested.outcome.take(np.flatnonzero(self.tested.folds == name))

    def auc(self, name: str) -> float | None:
        """The AUC of one fold's test images; None if it is undefined or its metric is not installed."""
        value = self.metrics["auc"].value(self.of_fold(name)) if "auc" in self.metrics else math.nan
        return None if math.isnan(value) else value

    def procedures(self) -> list[tuple[list[str], list[int], Recipe]]:
        """(fits, their seeds, recipe) of every recipe by which the fits that report were trained: points of the grid."""
        found: dict[str, tuple[list[str], list[int], Recipe]] = {}
        for fit in self.account.reporting:
            recipe = self.recipe.of_fit(fit)
            key = recipe.model_copy(update={"seed": 0}).model_dump_json()
            fits, seeds, _ = found.setdefault(key, ([], [], recipe))
            fits.append(fit)
            seeds.append(recipe.seed)
        return list(found.values())

    @property
    def recipe(self) -> Recipe:
        """The recipe, resolved."""
        return self.run.recipe

    @property
    def facts(self) -> Mapping[str, Any]:
        """The content of `run.json`."""
        return self.run.facts

    @property
    def parameters(self) -> int:
        """How many numbers the weights file holds."""
        return sum(map(math.prod, read_shapes(self.run.path / "model.safetensors").values()))

    @property
    def synthetic(self) -> bool:
        """Whether the images were generated."""
        return self.info.synthetic if self.info else self.config.training.synthetic


def read(folder: Path) -> Content:
    """Everything that a complete run holds.

    Raises:
        NotFoundError: there is no run, or it is not complete.
        IncompatibleError: its files are damaged or of another version.
    """
    run = RunDirectory.open(folder)
    if not (folder / "predictions.csv").is_file():
        raise NotFoundError(
            f"The run at '{folder}' is not complete (status '{run.facts.get('status', 'unknown')}'): it has no "
            "predictions.csv, and a report needs one. Train it again."
        )
    config, account = read_config(folder), read_account(folder, run.facts)
    if account.trained != (fits := len(run.facts["splits"]) * len(run.recipe.points())):
        raise IncompatibleError(
            f"The run at '{folder}' has {account.trained} fits in its attempts.csv or run.json, and its recipe makes {fits}."
        )
    rows = read_predictions(folder)
    tested, inner = rows.take(np.flatnonzero(np.isin(rows.parts, ("test", INNER_TEST)))), rows.of(INNER_TEST)
    test = rows.of("test").by_repeat()[0]
    trained = inner if len(inner) else rows.of("test")
    folds, models = (
        tuple(_fold(folder, name) for name in sorted(set(some.folds.tolist()))) for some in (test, trained)
    )
    scores = read_scores(folder)
    info = None
    with contextlib.suppress(NotFoundError):
        info = info_of(run.recipe.dataset)
    metrics = {name: item.value for name, item in registry().items("metrics").items()}
    return Content(run, config, folds, models, test, tested, scores, info, metrics, account)


def settings(file: Path) -> list[tuple[str, str]]:
    """(dotted key, value) of every key of a run's `recipe.yaml`; of a path only the last name, since a report is passed on.

    Keys that are missing in the file are left out: they were not settings of this run.
    """
    fields = Document.read(file, IncompatibleError).content
    if isinstance(root := fields.get("root"), dict):
        fields["root"] = {own: f"…/{Path(place).name}" for own, place in root.items()}
    elif root:
        fields["root"] = f"…/{Path(root).name}"
    for part in (fields, *(fields.get("stages") or ())):
        if part.get("exclude"):
            part["exclude"] = f"…/{Path(part['exclude']).name}"
    if "weights" in fields:
        fields["weights"] = weights_without_path(fields["weights"])
    return _flat("", fields)


def weights_without_path(weights: str) -> str:
    """`file:/some/where/a.safetensors` as `file:a.safetensors`, `run:/some/where/first` as `run:first`; others as they are."""
    kind, _, rest = weights.partition(":")
    return f"{kind}:{Path(rest).name}" if kind in ("file", "run") else weights


def _fold(folder: Path, name: str) -> Fold:
    fold = folder / name
    return Fold(name, read_config(fold), read_history(fold), read_split(fold))


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        inner = f"{prefix}." if prefix else ""
        return [row for key, part in value.items() for row in _flat(f"{inner}{key}", part)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [row for number, part in enumerate(value) for row in _flat(f"{prefix}[{number}]", part)]
    return [(prefix, _text(value))]


def _text(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
