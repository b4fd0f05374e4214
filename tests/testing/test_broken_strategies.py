"""Each check of strategies, tried on one that breaks just that."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from mammozoo import Model, Strategy

Failures = Callable[..., dict[str, str]]
States = Callable[..., set[str]]
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


BROKEN: dict[str, tuple[type[Strategy], str]] = {
    "has-name-and-summary": (BadName, "'bad name' cannot be written"),
    "options-have-types": (UntypedOption, "'k' has no type"),
    "adapts-a-network": (Crashes, r"KeyError was raised \(test_broken_strategies.py, line \d+, in adapt\): 'layer9'"),
    "adapt-is-deterministic": (Undecided, "other numbers the second time"),
    "adapt-needs-no-data": (Curious, "tried to connect"),
    "trainable-is-in-the-backbone": (TrainsTheHead, "is 'head.2.weight', not of the backbone"),
    "every-trainable-gets-a-gradient": (Unused, "spare' trains and got no gradient"),
    "learning-rates-are-positive": (Backwards, "the factor -1.0"),
    "training-goes-through": (NoOptimizer, "no optimizer for you"),
    "frozen-weights-stay": (MovesFrozen, "changed the frozen 'backbone.net.maxpool.1.weight'"),
    "frozen-statistics-stay": (MovesStatistics, "changed the statistic 'backbone.net.maxpool.1.seen'"),
    "weights-reload": (Forgets, "gives other outputs"),
    "pickles": (Unpicklable, "PicklingError|AttributeError"),
    "composes-with-frozen": (DividesByWhatTrains, "before 'frozen' it cannot train: ZeroDivisionError"),
    "composes-with-last-blocks": (ExpectsAllOrNothing, "before 'last-blocks' it cannot train: IndexError"),
    "composes-with-full": (Alone, "before 'full' it cannot train: RuntimeError .*somebody else trains too"),
}


@pytest.mark.parametrize("sound", [Sound, AllOrNothing])
def test_a_sound_one_passes_all(states: States, sound: type[Strategy]) -> None:
    assert states(sound) == {"passed"}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_strategy_fails_just_that(failures: Failures, rule: str) -> None:
    thing, words = BROKEN[rule]
    found = failures(thing)
    assert set(found) == {rule}
    assert re.search(words, found[rule])


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


@pytest.mark.parametrize(
    ("thing", "rule", "words"),
    [
        (OddOption, "options-have-types", "No text can become the option 'place'"),
        (Twice, "trainable-is-in-the-backbone", "Entry 1 of `trainable` is there twice"),
        (Names, "trainable-is-in-the-backbone", "Entry 0 of `trainable` is a str"),
        (Elsewhere, "learning-rates-are-positive", "holds a parameter that is not of the model"),
        (Grows, "adapt-is-deterministic", "`adapt` made two different networks: 'backbone.extra' is"),
        (ByWeights, "adapt-needs-no-data", "With other weights it makes another network: 'backbone.extra' is"),
        (MovesBatchNorm, "frozen-statistics-stay", "'backbone.net.bn1.running_mean', whose layer is frozen"),
        (Explodes, "training-goes-through", "outputs are not finite"),
    ],
)
def test_other_ways_to_break_them(failures: Failures, thing: type[Strategy], rule: str, words: str) -> None:
    found = failures(thing)
    assert set(found) == {rule}
    assert words in found[rule]


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


def test_a_gradient_that_is_no_number_ruins_the_weights_too(failures: Failures) -> None:
    found = failures(TakesRoots)
    assert set(found) == {"every-trainable-gets-a-gradient", "training-goes-through"}
    assert "The gradient of 'backbone.net.maxpool.1.weight' is not finite" in found["every-trainable-gets-a-gradient"]
