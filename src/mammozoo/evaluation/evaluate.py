"""From a model to its predictions on a data set, to those of whole patients, and to scores of parts of the data set.

An aggregated unit (a lesion, a patient) has one probability, from those of its images:

mean       average of the images' probabilities
max        the largest probability of the positive class (two classes only)
noisy-or   1 − Π (1 − p): each image alone may make the unit positive (two classes only)

With two classes a unit is positive if one of its images is: a patient with one malignant lesion is ill.

Subgroups (a device, a density, a hospital) show where a model is worse than on average. Scores of a few independent
groups are imprecise and may identify a person. Below `FEWEST` groups they are not computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.data.loaded import Data, open_data
from mammozoo.data.loader import batches
from mammozoo.data.splits.leakage import seen_before
from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predictions import Predictions, predictions_of, read_predictions
from mammozoo.evaluation.scores import Score, score_all
from mammozoo.models.config import LEAKY, SYNTHETIC, ModelConfig, read_config
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.model import check_probabilities, probabilities
from mammozoo.progress import Progress

FEWEST = 10
_OF_POSITIVE: dict[str, Callable[[npt.NDArray[np.float64]], float]] = {
    "mean": lambda p: float(p.mean()),
    "max": lambda p: float(p.max()),
    "noisy-or": lambda p: float(1 - np.prod(1 - p)),
}
HOW = tuple(_OF_POSITIVE)


@dataclass(frozen=True)
class EvaluationResult:
    """A model's predictions on a data set, decided at the threshold of that name (none with more than two classes)."""

    config: ModelConfig
    dataset: str
    threshold: str
    predictions: Predictions
    stamps: tuple[str, ...]


@dataclass(frozen=True)
class Subgroup:
    """One part: how many samples and groups, and its scores; None if it is too small."""

    value: str
    n: int
    groups: int
    scores: dict[str, Score] | None


def evaluate(
    folder: Path,
    dataset: str,
    root: Path | None,
    *,
    threshold: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationResult:
    """The predictions of the model in `folder` on all samples of a data set that have one of its classes.

    `threshold` names one of the model's; without it, the one in force. Images used in training or model selection put the
    stamp on the result.
    """
    progress = progress or Progress()
    model, config = load_model(folder)
    cut = config.cut(threshold)
    engine = choose_engine(device, "auto")
    data = open_data(dataset, root, config.asked, config.input, "group", progress)
    everything = np.arange(len(data.samples))
    stamps = [SYNTHETIC] if data.dataset.info.synthetic or config.training.synthetic else []
    stamps += dict.fromkeys(s for stage in config.training.stages for s in stage.stamps if s not in stamps)
    stamps += leak_stamps(data, config, progress)
    progress.start("predicting", len(everything))
    engine.place(model)
    loader = batches(data.images.pixels, data.labels, everything, 32, device=engine.device)
    logits, _ = engine.logits(model, loader, config.input)
    p = probabilities(logits, config.temperature).numpy()
    check_probabilities(p, config.name)
    progress.advance(len(everything))
    predictions = predictions_of(data, "all", "test", everything, p, cut)
    return EvaluationResult(config, dataset, threshold or config.threshold, predictions, tuple(stamps))


def evaluate_test_part(run: Path, threshold: str | None = None) -> EvaluationResult:
    """A run's predictions on its own test parts, each by a model that was not trained on the image.

    `threshold` names one that each fold has chosen on its validation part; without it, the one in force.
    """
    config = read_config(run)
    predictions = read_predictions(run).of("test")
    if threshold is not None:
        cuts = {fold: read_config(run / fold).cut(threshold) for fold in np.unique(predictions.folds).tolist()}
        predictions = predictions.cut_at(np.array([cuts[fold] for fold in predictions.folds.tolist()]))
    return EvaluationResult(config, config.training.dataset, threshold or config.threshold, predictions, config.stamps)


def leak_stamps(data: Data, config: ModelConfig, progress: Progress) -> list[str]:
    """The stamp if the data hold images used in training or model selection, or near-duplicates of them; a note counts them."""
    known = seen_before(data, np.arange(len(data.samples)), config.training.seen)
    if not len(known):
        return []
    progress.note(f"{len(known)} of {len(data.samples)} images were seen in training, or nearly so: {LEAKY}.")
    return [LEAKY]


def aggregate(outcome: Outcome, units: npt.NDArray[np.str_], cuts: npt.NDArray[np.float64], how: str) -> Outcome:
    """The outcome of the units, in the order of first appearance; an image without a unit (empty text) is a unit of its own.

    Args:
        units: (N,) unit of each image.
        cuts: (N,) threshold in force for each image (NaN with more than two classes); a unit's is their mean.

    Raises:
        UsageError: no unit is known; `how` is for two classes only; or, with more classes, the images of a unit have
            different labels.
    """
    if not (units != "").any():
        raise UsageError("These predictions name no such unit; the data set does not know it. Leave --aggregate out.")
    if not outcome.binary and how != "mean":
        raise UsageError(f"--aggregate {how} is for two classes; with {len(outcome.classes)} say --aggregate mean.")
    keys = np.array([unit or f"\0{i}" for i, unit in enumerate(units)])
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    members = [np.flatnonzero(index == unit) for unit in np.argsort(first)]
    for images in members:
        labels = np.unique(outcome.labels[images])
        if not outcome.binary and len(labels) > 1:
            raise UsageError(
                f"'{units[images[0]]}' has images of {' and '.join(outcome.classes[k] for k in labels)}; with more than two "
                "classes mammozoo does not guess which one it is."
            )
    if outcome.binary:
        positive = np.array([_OF_POSITIVE[how](outcome.probabilities[images, 1]) for images in members])
        p = np.stack([1 - positive, positive], axis=1)
    else:
        p = np.stack([outcome.probabilities[images].mean(axis=0) for images in members])
    return Outcome(
        outcome.classes,
        np.array([outcome.labels[images].max() for images in members], np.intp),
        p,
        decide(p, np.array([cuts[images].mean() for images in members])),
        np.array([outcome.groups[images[0]] for images in members], np.intp),
    )


def by_subgroup(outcome: Outcome, values: npt.NDArray[np.str_]) -> list[Subgroup]:
    """One entry for each of the (N,) values, in alphabetical order; empty text becomes the part `unknown`."""
    subgroups = []
    for value in sorted(set(values.tolist())):
        part = outcome.take(np.flatnonzero(values == value))
        groups = len(np.unique(part.groups))
        scores = score_all(part) if groups >= FEWEST else None
        subgroups.append(Subgroup(value or "unknown", len(part), groups, scores))
    return subgroups
