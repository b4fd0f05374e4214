"""The loop: phases, epochs, batches; the best epoch by validation is what remains."""

from __future__ import annotations

import copy
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.data.input import Pixels
from mammozoo.data.loading import batches
from mammozoo.data.splits import Split
from mammozoo.data.transform import build
from mammozoo.errors import FailedError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.models.engine import Engine
from mammozoo.models.model import Model, has_folded_batch_norm, probabilities
from mammozoo.models.strategy import Composite
from mammozoo.plugins import registry
from mammozoo.training.loss import Loss
from mammozoo.training.recipe import Optimizer, Phase, Recipe, Schedule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochRow:
    """One line of `history.csv`. Losses are class-weighted means; `rate` is images a second while training."""

    split: str
    epoch: int
    phase: int
    lr: float
    train_loss: float
    val_loss: float
    monitor: float
    best: bool
    seconds: float
    rate: float


@dataclass(frozen=True)
class Material:
    """What a fit learns from: all images as the model sees them, their labels and names, and the split."""

    pixels: Pixels
    labels: npt.NDArray[np.intp]
    names: Sequence[str]
    split: Split


#: Told of progress: `batch(images)` after each batch, `epoch(row)` after each epoch.
OnBatch = Callable[[int], object]
OnEpoch = Callable[[EpochRow], object]


def fit(
    model: Model,
    strategy: Composite,
    recipe: Recipe,
    material: Material,
    engine: Engine,
    on_batch: OnBatch = lambda images: None,
    on_epoch: OnEpoch = lambda row: None,
) -> list[EpochRow]:
    """Train `model` in place; it ends with the weights of the epoch that was best on validation.

    Raises:
        FailedError: a loss or the monitored score is not a number (of a batch, with its files), or memory ran out
            (with a batch to try).
    """
    engine.place(model)
    model.freeze_batch_norm = recipe.batch_norm == "frozen" or (
        recipe.batch_norm == "auto" and has_folded_batch_norm(model.backbone)
    )
    train, val = material.split.train, material.split.val
    loss = Loss(material.labels[train], len(model.classes), recipe.class_weights == "balanced", engine.device)
    augment = [build(name) for name in recipe.augment]
    seed = recipe.seed
    rows: list[EpochRow] = []
    sign = direction(recipe.monitor)
    best_value, best_state, stale = -np.inf, copy.deepcopy(model.state_dict()), 0
    epoch = 0
    for number, phase in enumerate(recipe.all_phases()):
        optimizer = make_optimizer(strategy, model, phase)
        scheduler = _make_scheduler(optimizer, recipe.schedule, phase)
        for _ in range(phase.epochs):
            started = time.perf_counter()
            loader = batches(
                material.pixels,
                material.labels,
                train,
                recipe.batch,
                augment=augment,
                shuffle=True,
                seed=seed,
                epoch=epoch,
                workers=recipe.workers,
            )
            total, seen = 0.0, 0
            model.train()
            for pixels, labels, indices in loader:
                value = _step(model, pixels, labels, loss, optimizer, engine)
                if not np.isfinite(value):
                    files = ", ".join(material.names[int(i)] for i in indices)
                    raise FailedError(
                        f"The loss became {value} in epoch {epoch + 1} at learning rate {phase.lr:g}. Try a smaller --lr, "
                        f"or --set precision=fp32. The batch was: {files}."
                    )
                total, seen = total + value * len(labels), seen + len(labels)
                on_batch(len(labels))
            trained = time.perf_counter() - started
            val_loss, monitored = validate(model, recipe, material, val, loss, engine)
            if not (np.isfinite(val_loss) and np.isfinite(monitored)):
                what, got = ("loss", val_loss) if not np.isfinite(val_loss) else (recipe.monitor, monitored)
                raise FailedError(
                    f"The validation {what} became {got} in epoch {epoch + 1} at learning rate {phase.lr:g}. Try a "
                    "smaller --lr, --set precision=fp32 or --set monitor=loss."
                )
            value = sign * monitored
            best = value > best_value
            if best:
                best_value, best_state, stale = value, copy.deepcopy(model.state_dict()), 0
            else:
                stale += 1
            row = EpochRow(
                split=material.split.name,
                epoch=epoch + 1,
                phase=number + 1,
                lr=float(optimizer.param_groups[0]["lr"]),
                train_loss=total / seen,
                val_loss=val_loss,
                monitor=monitored,
                best=best,
                seconds=time.perf_counter() - started,
                rate=seen / trained,
            )
            rows.append(row)
            on_epoch(row)
            _advance(scheduler, value)
            epoch += 1
            if recipe.patience is not None and stale >= recipe.patience:
                log.info("%s: no better %s for %d epochs; stopped.", row.split, recipe.monitor, stale)
                model.load_state_dict(best_state)
                return rows
    model.load_state_dict(best_state)
    return rows


def predict(
    model: Model, material: Material, indices: npt.NDArray[np.intp], batch: int, engine: Engine
) -> torch.Tensor:
    """(len(indices), outputs) float32 logits of some of the images, on the CPU."""
    loader = batches(material.pixels, material.labels, indices, batch)
    logits, _ = engine.logits(model, loader, model.backbone.input)
    return logits


def validate(
    model: Model,
    recipe: Recipe,
    material: Material,
    indices: npt.NDArray[np.intp],
    loss: Loss,
    engine: Engine,
) -> tuple[float, float]:
    """(loss, monitored value) on the validation part."""
    loader = batches(material.pixels, material.labels, indices, recipe.batch)
    logits, labels = engine.logits(model, loader, model.backbone.input)
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


def make_optimizer(strategy: Composite, model: Model, settings: Optimizer) -> torch.optim.Optimizer:
    """The strategy's own optimizer, or the recipe's, over the trainable parameters grouped by learning rate."""
    groups = strategy.parameter_groups(model, settings.lr)
    own = strategy.optimizer(groups, settings.lr, settings.weight_decay)
    if own is not None:
        return own
    lr, decay = settings.lr, settings.weight_decay
    match settings.name:
        case "adam":
            return torch.optim.Adam(groups, lr, betas=(settings.beta1, settings.beta2), weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(groups, lr, betas=(settings.beta1, settings.beta2), weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(groups, lr, momentum=settings.momentum, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr, momentum=settings.momentum, weight_decay=decay)


def _step(
    model: Model,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    engine: Engine,
) -> float:
    """One optimizer step; the weights stay as they are when the loss is not finite."""
    try:
        images = model.backbone.input.normalize(pixels.to(engine.device))
        with engine.autocast():
            logits = model(images)
        value = loss(logits, labels.to(engine.device))
        if torch.isfinite(value):
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return value.item()
    except (torch.OutOfMemoryError, MemoryError) as error:
        smaller = max(2, len(labels) // 2)
        raise FailedError(f"Out of memory at batch {len(labels)}. Try --batch {smaller}.") from error


def _make_scheduler(
    optimizer: torch.optim.Optimizer, schedule: Schedule, phase: Phase
) -> torch.optim.lr_scheduler.LRScheduler | None:
    match schedule.kind:
        case "constant":
            return None
        case "plateau":
            return torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", factor=schedule.factor, patience=schedule.patience, threshold=0.0
            )
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=phase.epochs)
        case "exponential":
            return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=schedule.factor)


def _advance(scheduler: torch.optim.lr_scheduler.LRScheduler | None, value: float) -> None:
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(value)
    elif scheduler is not None:
        scheduler.step()


def row_fields() -> list[str]:
    """The columns of `history.csv`."""
    return [field.name for field in dataclasses.fields(EpochRow)]
