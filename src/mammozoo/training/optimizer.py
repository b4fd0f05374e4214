"""The optimizer of a phase, and what becomes of its learning rate."""

from __future__ import annotations

import inspect
import warnings
from types import MethodType
from typing import Any

import torch

from mammozoo.config.sections import Optimizer, Phase, Schedule
from mammozoo.models.model import Model
from mammozoo.models.strategy import Composite


def make_optimizer(strategy: Composite, model: Model, settings: Optimizer) -> torch.optim.Optimizer:
    """The strategy's own optimizer, or the recipe's, over the trainable parameters grouped by learning rate.

    Methods of torch's optimizers import torch._dynamo, which takes longer than torch itself. Those of the recipe's are taken from
    under these wrappers; nothing here is compiled by it.
    """
    groups = strategy.parameter_groups(model, settings.lr)
    own = strategy.optimizer(groups, settings.lr, settings.weight_decay)
    if own is not None:
        return own
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        plain = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        plain.__dict__.setdefault("__dynamo_disable", plain)
    fused = True if next(model.parameters()).is_cuda else None  # on a card, one piece of work for all parameters
    optimizer = _of_torch(groups, settings, fused)
    optimizer.step = MethodType(torch.no_grad()(inspect.unwrap(type(optimizer).step)), optimizer)  # type: ignore[method-assign]
    return optimizer


def _of_torch(groups: list[dict[str, Any]], settings: Optimizer, fused: bool | None) -> torch.optim.Optimizer:
    lr, decay = settings.lr, settings.weight_decay
    match settings.name:
        case "adam":
            return torch.optim.Adam(groups, lr, betas=(settings.beta1, settings.beta2), weight_decay=decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(
                groups, lr, betas=(settings.beta1, settings.beta2), weight_decay=decay, fused=fused
            )
        case "sgd":
            return torch.optim.SGD(groups, lr, momentum=settings.momentum, weight_decay=decay, fused=fused)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr, momentum=settings.momentum, weight_decay=decay)


def make_scheduler(
    optimizer: torch.optim.Optimizer, schedule: Schedule, phase: Phase
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """The schedule of one phase; None where the rate stays. Plateaus are those of a value that rises as the model improves."""
    warm = schedule.warmup
    after = _after_warmup(optimizer, schedule, max(1, phase.epochs - warm))
    if not warm:
        return after
    rising = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)
    then = after or torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [rising, then], milestones=[warm])


def _after_warmup(
    optimizer: torch.optim.Optimizer, schedule: Schedule, epochs: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    match schedule.kind:
        case "constant":
            return None
        case "plateau":
            return torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", factor=schedule.factor, patience=schedule.patience, threshold=0.0
            )
        case "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        case "exponential":
            return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=schedule.factor)


def step_scheduler(scheduler: torch.optim.lr_scheduler.LRScheduler | None, value: float) -> None:
    """Step after an epoch with this validation value (higher is better)."""
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(value)
    elif scheduler is not None:
        with warnings.catch_warnings():
            # In a resumed fit: torch misses the optimizer steps that were taken before the interruption.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            scheduler.step()
