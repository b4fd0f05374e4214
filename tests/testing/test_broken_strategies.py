"""Each check of strategies, tried on one that breaks just that."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from mammozoo import Model, Strategy
from mammozoo.testing import checks, run

_COUNT = itertools.count()


class Sound(Strategy):
    """Train the last block; the broken ones below change one thing of it."""

    name = "sound"

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or "Broken in one way."

    def trainable(self, model: Model) -> Iterable[nn.Parameter] | None:
        return model.backbone.groups("block")[-1].parameters


class Crashes(Sound):
    def adapt(self, model: Model) -> None:
        raise KeyError("layer9")


class BadName(Sound):
    name = "bad name"


class UntypedOption(Sound):
    def __init__(self, k=1) -> None:  # type: ignore[no-untyped-def]
        self.k = k


class Undecided(Sound):
    """Starts from the weights of a counter, not of torch's generator."""

    def adapt(self, model: Model) -> None:
        with torch.no_grad():
            next(model.backbone.parameters()).fill_(float(next(_COUNT)))


class Curious(Sound):
    def adapt(self, model: Model) -> None:
        with contextlib.suppress(OSError):  # found out all the same
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)


class TrainsTheHead(Sound):
    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        return [*(super().trainable(model) or ()), next(model.head.parameters())]


class Unused(Sound):
    """Adds a parameter to the last block that `forward` does not use."""

    def adapt(self, model: Model) -> None:
        net: Any = model.backbone.net
        net.layer4[-1].register_parameter("spare", nn.Parameter(torch.zeros(3)))


class Drifting(nn.Module):
    """A layer that changes its own frozen weight while it trains."""

    def __init__(self, what: str):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("seen", torch.zeros(1))
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            with torch.no_grad():
                (self.weight if self.what == "weight" else self.seen).add_(1.0)
        return x


class NoOptimizer(Sound):
    def optimizer(self, groups: list[dict[str, Any]], lr: float, weight_decay: float) -> Any:
        raise RuntimeError("no optimizer for you")


class MovesFrozen(Sound):
    def adapt(self, model: Model) -> None:
        net: Any = model.backbone.net
        net.maxpool = nn.Sequential(net.maxpool, Drifting("weight"))


class MovesStatistics(Sound):
    def adapt(self, model: Model) -> None:
        net: Any = model.backbone.net
        net.maxpool = nn.Sequential(net.maxpool, Drifting("seen"))


class Backwards(Sound):
    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        return dict.fromkeys(self.trainable(model) or (), -1.0)


class Hidden(nn.Module):
    """A random number that is in no file."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.scale += 1.0
        return x * self.scale


class Forgets(Sound):
    def adapt(self, model: Model) -> None:
        net: Any = model.backbone.net
        net.maxpool = nn.Sequential(net.maxpool, Hidden())


class Unpicklable(Sound):
    def __init__(self) -> None:
        self.pick = lambda model: model


class AllOrNothing(Strategy):
    """Has no opinion on what trains, and weighs what the others train; the two below forget a case."""

    name = "all-or-nothing"

    def shares(self, model: Model) -> list[bool]:
        return [parameter.requires_grad for parameter in model.backbone.parameters()]


class DividesByWhatTrains(AllOrNothing):
    """Divides by the number of backbone weights that train: beside `frozen` there are none."""

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        factor = len(self.shares(model)) / sum(self.shares(model))
        return dict.fromkeys(model.backbone.parameters(), factor)


class ExpectsAllOrNothing(AllOrNothing):
    """Takes for granted that all trains where something does: beside `last-blocks` it is a part."""

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        if any(self.shares(model)) and not all(self.shares(model)):
            raise IndexError("one factor for each parameter")
        return {}


class Alone(Sound):
    """Expects that nothing else trains: `last-blocks` trains the same block, so that only `full` disturbs it."""

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        own = set(self.trainable(model) or ())
        if any(p.requires_grad and p not in own for p in model.backbone.parameters()):
            raise RuntimeError("somebody else trains too")
        return {}


class OddOption(Sound):
    def __init__(self, place: nn.Module | None = None) -> None:
        self.place = place


class Twice(Sound):
    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        return [next(model.backbone.parameters())] * 2


class Names(Sound):
    def trainable(self, model: Model) -> Any:
        return [name for name, _ in model.backbone.named_parameters()]


class Elsewhere(Sound):
    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        return {nn.Parameter(torch.zeros(1)): 1.0}


class Grows(Sound):
    def adapt(self, model: Model) -> None:
        model.backbone.register_buffer("extra", torch.zeros(1 + next(_COUNT)))


class ByWeights(Sound):
    """Makes a layer as wide as the weights are positive."""

    def adapt(self, model: Model) -> None:
        width = int((next(model.backbone.parameters()) > 0).sum())
        model.backbone.register_buffer("extra", torch.zeros(width))


class AlwaysBatch(nn.BatchNorm2d):
    """Learns statistics though the strategy trains nothing of it."""

    def train(self, mode: bool = True) -> AlwaysBatch:
        super().train(True)
        return self


class MovesBatchNorm(Sound):
    def adapt(self, model: Model) -> None:
        net: Any = model.backbone.net
        net.bn1.__class__ = AlwaysBatch


class Explodes(Sound):
    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        return dict.fromkeys(self.trainable(model) or (), 1e30)


BROKEN = [
    ("has-name-and-summary", "'bad name'", BadName),
    ("options-have-types", "'k'", UntypedOption),
    ("options-have-types", "'place'", OddOption),
    ("adapts-a-network", r"KeyError .*test_broken_strategies.py, line \d+, in adapt.: 'layer9'", Crashes),
    ("adapt-is-deterministic", "other numbers", Undecided),
    ("adapt-is-deterministic", "'backbone.extra'", Grows),
    ("adapt-needs-no-data", "127.0.0.1.*9", Curious),
    ("adapt-needs-no-data", "'backbone.extra'", ByWeights),
    ("trainable-is-in-the-backbone", "'head.2.weight'", TrainsTheHead),
    ("trainable-is-in-the-backbone", "Entry 1 .* twice", Twice),
    ("trainable-is-in-the-backbone", "Entry 0 .* a str", Names),
    ("every-trainable-gets-a-gradient", "spare' .* no gradient", Unused),
    ("learning-rates-are-positive", "-1.0", Backwards),
    ("learning-rates-are-positive", "not of the model", Elsewhere),
    ("training-goes-through", "no optimizer for you", NoOptimizer),
    ("training-goes-through", "not finite", Explodes),
    ("frozen-weights-stay", "'backbone.net.maxpool.1.weight'", MovesFrozen),
    ("frozen-statistics-stay", "'backbone.net.maxpool.1.seen'", MovesStatistics),
    ("frozen-statistics-stay", "'backbone.net.bn1.running_mean'", MovesBatchNorm),
    ("weights-reload", "other outputs", Forgets),
    ("pickles", "PicklingError|AttributeError", Unpicklable),
    ("composes-with-frozen", "before 'frozen' .* ZeroDivisionError", DividesByWhatTrains),
    ("composes-with-last-blocks", "before 'last-blocks' .* IndexError", ExpectsAllOrNothing),
    ("composes-with-full", "before 'full' .* RuntimeError .*somebody else trains too", Alone),
]


@pytest.mark.parametrize("sound", [Sound, AllOrNothing])
def test_a_sound_strategy_passes_all(passes: Any, sound: type[Strategy]) -> None:
    passes(sound)


@pytest.mark.parametrize(("rule", "words", "thing"), BROKEN)
def test_a_broken_strategy_fails_just_that(breaks: Any, rule: str, words: str, thing: type[Strategy]) -> None:
    breaks(rule, words, thing)


class Root(nn.Module):
    """Adds nothing, by way of a root of zero, whose gradient is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0 * self.weight.sqrt()


class TakesRoots(Sound):
    def adapt(self, model: Model) -> None:
        net: Any = model.backbone.net
        net.maxpool = nn.Sequential(net.maxpool, Root())

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        net: Any = model.backbone.net
        return [*(super().trainable(model) or ()), net.maxpool[1].weight]


def test_a_gradient_that_is_not_a_number_ruins_the_weights_too() -> None:
    failed = {result.check: result.reason for result in map(run, checks(TakesRoots)) if result.state == "failed"}
    assert set(failed) == {"every-trainable-gets-a-gradient", "training-goes-through"}
    assert "'backbone.net.maxpool.1.weight' is not finite" in failed["every-trainable-gets-a-gradient"]
