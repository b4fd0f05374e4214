"""From a model to its predictions on a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammozoo.data.loaded import Data, open_data
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

    `threshold` names one of the model's; without it, the one in force. Images used in training or model selection put the
    stamp on the result.
    """
    progress = progress or Progress()
    model, config = load_model(folder)
    cut = config.cut(threshold)
    engine = choose_engine(device, precision)
    data = open_data(dataset, root, config.asked, config.input, "group", progress)
    everything = np.arange(len(data.samples))
    stamps = [SYNTHETIC] if data.dataset.info.synthetic or config.training.synthetic else []
    stamps += dict.fromkeys(s for stage in config.training.stages for s in stage.stamps if s not in stamps)
    stamps += leak_stamps(data, config, progress)
    progress.start("predicting", len(everything))
    engine.place(model)
    loader = batches(data.images.pixels, data.labels, everything, batch, device=engine.device)
    logits, _ = engine.logits(model, loader, config.input)
    p = probabilities(logits, config.temperature).numpy()
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
