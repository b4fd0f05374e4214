"""Each check of heads, tried on one that breaks just that."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mammozoo import HeadSpec
from mammozoo.errors import IncompatibleError

Failures = Callable[..., dict[str, str]]
States = Callable[..., set[str]]


class Mean(nn.Module):
    """The mean over positions and one dense layer; the broken ones below change one thing of it."""

    def __init__(self, channels: int, height: int, width: int, outputs: int, scale: float = 1.0):
        super().__init__()
        self.dense, self.scale = nn.Linear(channels, outputs), scale

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.scale * self.dense(maps.mean((2, 3)))


def untyped(channels: int, height: int, width: int, outputs: int, scale=1.0) -> Mean:  # type: ignore[no-untyped-def]
    return Mean(channels, height, width, outputs)


class SquareOnly(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        if height != width:
            raise ValueError("maps must be square")
        super().__init__(channels, height, width, outputs)


class Calls(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        super().__init__(channels, height, width, outputs)
        with contextlib.suppress(OSError):  # found out all the same
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)


class OwnDice(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        super().__init__(channels, height, width, outputs)
        nn.init.constant_(self.dense.bias, np.random.default_rng().normal())


class Squeezes(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps).squeeze()


class Divides(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps / maps.square().sum((1, 2, 3), keepdim=True).sqrt())


class Spare(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        super().__init__(channels, height, width, outputs)
        self.spare = nn.Linear(channels, 2)


class Detaches(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps.detach())


class AlwaysDrops(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(maps))


class Secret(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        super().__init__(channels, height, width, outputs)
        self.noise = torch.randn(channels, 1, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps + self.noise)


class Unpicklable(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        super().__init__(channels, height, width, outputs)
        self.pool = lambda maps: maps


class InPlace(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps.relu_())


BROKEN: dict[str, tuple[str, Callable[..., nn.Module], str]] = {
    "has-name-and-summary": ("a head", Mean, "'a head' cannot be written"),
    "options-have-types": ("mean", untyped, "'scale' has no type"),
    "builds-for-every-size": (
        "mean",
        SquareOnly,
        r"`build\(12, 3, 5, 3\)`: ValueError was raised \(test_broken_heads.py, line \d+, in __init__\): maps must be",
    ),
    "builds-offline": ("mean", Calls, r"tried to connect to \('127.0.0.1', 9\)"),
    "build-is-deterministic": ("mean", OwnDice, "'dense.bias' has other numbers the second time"),
    "gives-a-logit-for-each-output": (
        "mean",
        Squeezes,
        r"Maps \(1, 8, 4, 4\) become \(\) torch.float32; promised are \(1, 1\) floats",
    ),
    "logits-are-finite": ("mean", Divides, "times 0 give logits that are not finite"),
    "every-parameter-gets-a-gradient": ("mean", Spare, "2 parameters get no gradient, 'spare.weight' the first"),
    "gradient-reaches-the-maps": ("mean", Detaches, "The maps get no gradient"),
    "eval-is-deterministic": ("mean", AlwaysDrops, "other logits the second time"),
    "weights-reload": ("mean", Secret, "The head that was read gives other logits"),
    "pickles": ("mean", Unpicklable, "PicklingError|AttributeError"),
    "leaves-its-input-alone": ("mean", InPlace, "changes the maps"),
}


def test_a_sound_head_passes_all(states: States) -> None:
    assert states(HeadSpec("mean", "the mean over positions", Mean)) == {"passed"}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_head_fails_just_that(failures: Failures, rule: str) -> None:
    name, build, words = BROKEN[rule]
    found = failures(HeadSpec(name, "the mean over positions", build))
    assert set(found) == {rule}
    assert re.search(words, found[rule])


class NoModule:
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        self.size = channels


class Crashes(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        raise KeyError("pool")


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


class Dead(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps * 0)


class LooksAtOthers(Mean):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps - maps.mean(0, keepdim=True))


@pytest.mark.parametrize(
    ("build", "rule", "words"),
    [
        (NoModule, "builds-for-every-size", "`build(8, 4, 4, 1)` gives a NoModule"),
        (
            Crashes,
            "gives-a-logit-for-each-output",
            "Maps (1, 8, 4, 4): KeyError was raised (test_broken_heads.py, line",
        ),
        (SquareWeights, "gives-a-logit-for-each-output", "Maps (1, 12, 3, 5): RuntimeError was raised"),
        (Nothing, "every-parameter-gets-a-gradient", "It has no parameters"),
        (Dead, "gradient-reaches-the-maps", "zero or not finite"),
        (LooksAtOthers, "eval-is-deterministic", "An image alone has other logits than in a batch"),
    ],
)
def test_other_ways_to_break_them(failures: Failures, build: Callable[..., Any], rule: str, words: str) -> None:
    found = failures(HeadSpec("mean", "the mean over positions", build))
    assert set(found) == {rule}
    assert words in found[rule]


def test_the_docstring_of_all_specs_is_no_summary(failures: Failures) -> None:
    found = failures(HeadSpec("mean", "", Mean))
    assert set(found) == {"has-name-and-summary"}
    assert "neither a summary nor a docstring" in found["has-name-and-summary"]


class Refuses(Mean):
    def __init__(self, channels: int, height: int, width: int, outputs: int):
        if height < 3:
            raise IncompatibleError("This head needs maps of 3 × 3.")
        super().__init__(channels, height, width, outputs)


def test_a_refusal_is_no_crash(failures: Failures) -> None:
    """A head may say that maps are too small for it, by the error that the command line knows."""
    assert failures(HeadSpec("mean", "the mean over positions", Refuses)) == {}
