"""Each check of heads, tried on one that breaks just that."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mammozoo import HeadSpec
from mammozoo.errors import IncompatibleError

from ..helpers import call_home


class Mean(nn.Module):
    """The mean over positions and one dense layer; the broken ones below change one thing of it."""

    def __init__(self, channels: int, height: int, width: int, outputs: int, scale: float = 1.0):
        super().__init__()
        self.dense, self.scale = nn.Linear(channels, outputs), scale

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.scale * self.dense(maps.mean((2, 3)))


def untyped(channels: int, height: int, width: int, outputs: int, scale=1.0) -> Mean:  # type: ignore[no-untyped-def]
    return Mean(channels, height, width, outputs)


def after(change: Callable[[Mean], object]) -> Callable[[int, int, int, int], Mean]:
    def build(channels: int, height: int, width: int, outputs: int) -> Mean:
        made = Mean(channels, height, width, outputs)
        change(made)
        return made

    return build


def broken(name: str, forward: Callable[[Mean, torch.Tensor], torch.Tensor]) -> type[Mean]:
    """`Mean` with another `forward`; as a name of this module, so that it can be pickled."""
    globals()[name] = made = type(name, (Mean,), {"__module__": __name__, "forward": forward})
    return made


Squeezes = broken("Squeezes", lambda head, maps: Mean.forward(head, maps).squeeze())
Divides = broken(
    "Divides", lambda head, maps: Mean.forward(head, maps / maps.square().sum((1, 2, 3), keepdim=True).sqrt())
)
Detaches = broken("Detaches", lambda head, maps: Mean.forward(head, maps.detach()))
AlwaysDrops = broken("AlwaysDrops", lambda head, maps: Mean.forward(head, nn.functional.dropout(maps)))
InPlace = broken("InPlace", lambda head, maps: Mean.forward(head, maps.relu_()))
Crashes = broken("Crashes", lambda head, maps: {}["pool"])
Dead = broken("Dead", lambda head, maps: Mean.forward(head, maps * 0))
LooksAtOthers = broken("LooksAtOthers", lambda head, maps: Mean.forward(head, maps - maps.mean(0, keepdim=True)))


class SquareOnly(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        if height != width:
            raise ValueError("maps must be square")
        super().__init__(channels, height, width, outputs)


class Secret(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        super().__init__(channels, height, width, outputs)
        self.noise = torch.randn(channels, 1, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps + self.noise)


class NoModule:
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        self.size = channels


class SquareWeights(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        super().__init__(channels, height, width, outputs)
        self.dense = nn.Linear(channels * height * height, outputs)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.dense(maps.flatten(1))


class Nothing(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        nn.Module.__init__(self)
        self.outputs = outputs

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean((2, 3))[:, : self.outputs]


class Refuses(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        if height < 3:
            raise IncompatibleError("This head needs maps of 3 × 3.")
        super().__init__(channels, height, width, outputs)


BROKEN = {"heads": [
    ("has-name-and-summary", "'a head'", HeadSpec("a head", "the mean", Mean)),
    ("has-name-and-summary", "summary", HeadSpec("mean", "", Mean)),
    ("options-have-types", "'scale'", untyped),
    (
        "builds-for-every-size",
        r"`build\(12, 3, 5, 3\)`: ValueError .*broken_heads.py, line \d+, in __init__",
        SquareOnly,
    ),
    ("builds-for-every-size", r"`build\(8, 4, 4, 1\)` gives a NoModule", NoModule),
    ("builds-offline", "127.0.0.1.*9", after(call_home)),
    (
        "build-is-deterministic", "'dense.bias'",
        after(lambda head: nn.init.constant_(head.dense.bias, np.random.default_rng().normal())),
    ),
    ("gives-a-logit-for-each-output", r"\(1, 8, 4, 4\) become \(\) torch.float32; .*\(1, 1\)", Squeezes),
    ("gives-a-logit-for-each-output", r"\(1, 8, 4, 4\): KeyError .*broken_heads.py, line", Crashes),
    ("gives-a-logit-for-each-output", r"\(1, 12, 3, 5\): RuntimeError", SquareWeights),
    ("logits-are-finite", "times 0", Divides),
    ("every-parameter-gets-a-gradient", "2 .*'spare.weight'", after(lambda head: setattr(head, "spare", nn.Linear(9, 2)))),
    ("every-parameter-gets-a-gradient", "no parameters", Nothing),
    ("gradient-reaches-the-maps", "no gradient", Detaches),
    ("gradient-reaches-the-maps", "zero", Dead),
    ("eval-is-deterministic", "second time", AlwaysDrops),
    ("eval-is-deterministic", "alone", LooksAtOthers),
    ("weights-reload", "read", Secret),
    ("pickles", "PicklingError|AttributeError", after(lambda head: setattr(head, "pool", lambda maps: maps))),
    ("leaves-its-input-alone", "maps", InPlace),
]}  # fmt: skip


SOUND = {"heads": [Mean]}


def made(thing: Any, request: pytest.FixtureRequest) -> HeadSpec:
    return thing if isinstance(thing, HeadSpec) else HeadSpec("mean", "the mean over positions", thing)
