"""What a model says about images of the material, and how well it does on the validation part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.config.recipe import Recipe
from mammozoo.data.loader import batches
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.models.device import Engine
from mammozoo.models.model import Model, probabilities
from mammozoo.plugins import registry
from mammozoo.training.distributed import ALONE, DistContext
from mammozoo.training.feature_cache.features import FrozenFeatures
from mammozoo.training.loss import Loss
from mammozoo.training.training_data import TrainingData


def predict(
    model: Model,
    material: TrainingData,
    indices: npt.NDArray[np.intp],
    batch: int,
    engine: Engine,
    team: DistContext = ALONE,
    kept: FrozenFeatures | None = None,
) -> torch.Tensor:
    """(len(indices), outputs) float32 logits of some of the images, on the CPU; each process of a team does its share.

    With `kept` from the frozen trunk on, which gives the same numbers sooner.
    """
    if kept is not None:
        return kept.logits(indices, batch)
    loader = batches(material.pixels, material.labels, indices[team.rank :: team.size], batch, device=engine.device)
    logits, _ = engine.logits(model, loader, model.backbone.input)
    return team.join(logits, len(indices))


def validate(
    model: Model,
    recipe: Recipe,
    material: TrainingData,
    indices: npt.NDArray[np.intp],
    loss: Loss,
    engine: Engine,
    team: DistContext = ALONE,
    kept: FrozenFeatures | None = None,
) -> tuple[float, float]:
    """(loss, monitored value) on the validation part."""
    logits = predict(model, material, indices, recipe.batch, engine, team, kept)
    labels = torch.from_numpy(material.labels[indices])
    val_loss = float(loss(logits.to(engine.device), labels.to(engine.device)))
    if recipe.monitor == "loss" or not np.isfinite(val_loss):
        return val_loss, val_loss
    metric = registry().get("metrics", recipe.monitor)
    p = probabilities(logits).numpy()
    outcome = Outcome(model.classes, labels.numpy(), p, decide(p, 0.5), np.arange(len(p)))
    return val_loss, metric.value(outcome)


def direction(monitor: str) -> int:
    """1 where a model improves as `monitor` rises, −1 where it improves as it falls, as the loss does."""
    if monitor == "loss":
        return -1
    return 1 if registry().get("metrics", monitor).higher_is_better else -1
