"""From a model to its predictions on a data set: what `evaluate` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammozoo.data.loaded import open_data
from mammozoo.data.loader import batches
from mammozoo.data.splits.leakage import seen_before
from mammozoo.evaluation.predictions import Predictions, predictions_of, read_predictions
from mammozoo.models.config import LEAKY, SYNTHETIC, ModelConfig, read_config
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.model import probabilities
from mammozoo.progress import Progress


@dataclass(frozen=True)
class EvaluationResult:
    """A model's predictions on a data set, decided at the threshold of that name (none with more than two classes)."""

    config: ModelConfig
    dataset: str
    threshold: str
    predictions: Predictions
    stamps: tuple[str, ...]


def evaluate(
    folder: Path,
    dataset: str,
    root: Path | None,
    *,
    threshold: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch: int = 32,
    progress: Progress | None = None,
) -> EvaluationResult:
    """The predictions of the model in `folder` on all samples of a data set that have one of its classes.

    Images that the model has seen in training put the stamp on the result; they are counted in a note. `threshold` is the
    name of one of the model's; without it, the one in force.
    """
    progress = progress or Progress()
    model, config = load_model(folder)
    cut = config.cut(threshold)
    engine = choose_engine(device, precision)
    data = open_data(dataset, root, config.asked, config.input, "group", progress)
    everything = np.arange(len(data.samples))
    stamps = [SYNTHETIC] if data.dataset.info.synthetic or config.training.synthetic else []
    stamps += dict.fromkeys(s for stage in config.training.stages for s in stage.stamps if s not in stamps)
    known = seen_before(data, everything, config.training.seen)
    if len(known):
        stamps.append(LEAKY)
        progress.note(f"{len(known)} of {len(everything)} images were seen in training, or nearly so: {LEAKY}.")
    progress.start("predicting", len(everything))
    engine.place(model)
    logits, _ = engine.logits(model, batches(data.images.pixels, data.labels, everything, batch), config.input)
    p = probabilities(logits, config.temperature).numpy()
    progress.advance(len(everything))
    predictions = predictions_of(data, "all", "test", everything, p, cut)
    return EvaluationResult(config, dataset, threshold or config.threshold, predictions, tuple(stamps))


def own_predictions(run: Path, threshold: str | None = None) -> EvaluationResult:
    """A run's predictions on its own test parts, each made by a model that had not seen the image.

    `threshold` is the name of one that each fold has chosen on its validation part; without it, the one in force.
    """
    config = read_config(run)
    predictions = read_predictions(run).of("test")
    if threshold is not None:
        cuts = {fold: read_config(run / fold).cut(threshold) for fold in np.unique(predictions.folds).tolist()}
        predictions = predictions.cut_at(np.array([cuts[fold] for fold in predictions.folds.tolist()]))
    return EvaluationResult(config, config.training.dataset, threshold or config.threshold, predictions, config.stamps)
