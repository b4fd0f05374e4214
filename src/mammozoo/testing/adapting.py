"""A small model under a strategy: adapted, trained for two steps, asked for its output."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mammozoo.config.names import call, parse
from mammozoo.config.sections import Optimizer
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.factory import build_backbone
from mammozoo.models.model import Model, assemble
from mammozoo.models.randomness import seed_generators, seeded
from mammozoo.models.strategy import Composite, Strategy
from mammozoo.plugins import registry
from mammozoo.testing.check import NotChecked, Subject
from mammozoo.testing.common import needs_options
from mammozoo.training.optimizer import make_optimizer

_CLASSES = ("benign", "malignant")
_SIDE = 64  # pixels; the strategy is on trial, not the network
_RATE = 0.05

StrategySubject = Subject[type[Strategy]]


def made(subject: StrategySubject) -> Strategy:
    """The strategy with its options; skips where it refuses them."""
    try:
        strategy: Strategy = call(subject.value, subject.spec)
    except UsageError as error:
        raise needs_options(subject, error) from error
    return strategy


def adapted(subject: StrategySubject, *, seed: int = 0, parts: list[Strategy] | None = None) -> tuple[Model, Composite]:
    """A small model under the strategy (or `parts`), marked for training; skips where it refuses this network.

    `seed` is that of the backbone's weights; `adapt` always draws from the same one.
    """
    chosen = Composite(parts or [made(subject)])
    with seeded(seed):
        backbone = build_backbone(subject.settings.backbone)
        backbone.input = backbone.input.model_copy(update={"size": (_SIDE, _SIDE)})
        model = assemble(backbone, registry().get("heads", "gap"), parse("gap"), _CLASSES)
        seed_generators(2)
        try:
            chosen.adapt(model)
            chosen.freeze(model)
        except (UsageError, IncompatibleError) as error:
            raise NotChecked(
                f"It refuses '{subject.settings.backbone}': {error} Name another with --backbone (in pytest: "
                "backbone=...), or options with --with (specs=[...])."
            ) from error
    return model, chosen


def _images(model: Model) -> torch.Tensor:
    shape = (4, model.backbone.input.channels, _SIDE, _SIDE)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def loss(model: Model) -> torch.Tensor:
    """Binary cross-entropy of four images of noise."""
    with seeded(4):
        return binary_cross_entropy_with_logits(model(_images(model)), torch.tensor([[0.0], [1.0], [1.0], [0.0]]))


def train(model: Model, chosen: Composite) -> None:
    """Two steps with the strategy's own optimizer, or SGD with weight decay, which shows what slipped in."""
    optimizer = make_optimizer(chosen, model, Optimizer(name="sgd", lr=_RATE, weight_decay=0.1))
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(loss(model))
        optimizer.step()


@torch.no_grad()
def output(model: Model) -> torch.Tensor:
    """Logits (4, 1) of the same images, in eval mode."""
    return model.eval()(_images(model))
