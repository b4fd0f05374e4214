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
from mammozoo.testing import checks

Failures = Callable[..., dict[str, str]]
_COUNT = itertools.count()


class Sound(Strategy):
    """Train the last block; the broken ones below change one thing of it."""

    name = "sound"

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or "Broken in one way."

    def trainable(self, model: Model) -> Iterable[nn.Parameter] | None:
        return model.backbone.groups("block")[-1].parameters


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


class ByWeights(Sound):
    """Makes a layer as wide as the weights are positive."""

    def adapt(self, model: Model) -> None:
        width = int((next(model.backbone.parameters()) > 0).sum())
        model.backbone.register_buffer("extra", torch.zeros(width))


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


BROKEN: dict[str, tuple[type[Strategy], str]] = {
    "has-name-and-summary": (BadName, "'bad name' cannot be written"),
    "options-have-types": (UntypedOption, "'k' has no type"),
    "adapt-is-deterministic": (Undecided, "other numbers the second time"),
    "trainable-is-in-the-backbone": (TrainsTheHead, "belongs to head."),
    "every-trainable-gets-a-gradient": (Unused, "spare' trains and got no gradient"),
    "frozen-weights-stay": (MovesFrozen, "changed the frozen 'backbone.net.maxpool.1.weight'"),
    "frozen-statistics-stay": (MovesStatistics, "changed the statistic 'backbone.net.maxpool.1.seen'"),
    "learning-rates-are-positive": (Backwards, "the factor -1.0"),
    "weights-reload": (Forgets, "gives other outputs"),
    "pickles": (Unpicklable, "PicklingError|AttributeError"),
}


def test_the_sound_one_fails_nothing(failures: Failures) -> None:
    assert failures(Sound) == {}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_fails_just_that(failures: Failures, name: str) -> None:
    thing, words = BROKEN[name]
    found = failures(thing)
    assert set(found) == {name}
    assert re.search(words, found[name])


@pytest.mark.parametrize(("thing", "words"), [(Curious, "tried to connect"), (ByWeights, "With other weights")])
def test_adapt_that_asks_for_more_than_the_network(failures: Failures, thing: type[Strategy], words: str) -> None:
    found = failures(thing)
    assert words in found["adapt-needs-no-data"]
    # A network made by the weights cannot take those of another either.
    assert set(found) - {"weights-reload"} == {"adapt-needs-no-data"}


class Alone(Sound):
    """Expects that nothing else trains."""

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        own = set(self.trainable(model) or ())
        if any(p.requires_grad and p not in own for p in model.backbone.parameters()):
            raise RuntimeError("somebody else trains too")
        return {}


def test_one_that_fails_beside_others(failures: Failures) -> None:
    """The last block is what `last-blocks` trains too, so that only `full` disturbs it."""
    found = failures(Alone)
    assert set(found) == {"composes-with-full"}
    assert "somebody else trains too" in found["composes-with-full"]


def test_every_rule_has_a_broken_one() -> None:
    named = {check.name for check in checks(Sound)}
    covered = {*BROKEN, "adapt-needs-no-data", *(f"composes-with-{name}" for name in ("frozen", "last-blocks", "full"))}
    assert named == covered
