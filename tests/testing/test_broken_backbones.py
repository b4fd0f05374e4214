"""Each check of backbones, tried on one that breaks just that."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mammozoo import Backbone, BackboneSpec
from mammozoo.data.preprocessing import Input
from mammozoo.models.backbone import Group

Failures = Callable[..., dict[str, str]]
States = Callable[..., set[str]]


class Two(Backbone):
    """Two convolutions; the broken ones below change one thing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.input = 4, Input(size=(16, 16))
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))

    def block_names(self) -> list[str]:
        return [name.partition(".")[0] for name, _ in self.named_parameters()]

    stage_names = block_names


class Calls(Two):
    def __init__(self) -> None:
        super().__init__()
        with contextlib.suppress(OSError):  # found out all the same
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)


class Promises(Two):
    def __init__(self) -> None:
        super().__init__()
        self.channels = 5


class LeavesOut(Two):
    def groups(self, by: Any = "block") -> Any:
        return super().groups(by)[1:]


class Disorder(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(torch.relu(self.second(x[:, :1].expand(-1, 4, -1, -1)))[:, :3])


class Spare(Two):
    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Conv2d(4, 4, 1)


class Secret(Two):
    def __init__(self) -> None:
        super().__init__()
        self.noise = torch.randn(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.noise


def untyped(width=4) -> Two:  # type: ignore[no-untyped-def]
    return Two()


BROKEN: dict[str, tuple[str, Callable[..., Backbone], str]] = {
    "has-name-and-summary": ("bad name", Two, "'bad name' cannot be written"),
    "options-have-types": ("two", untyped, "'width' has no type"),
    "builds-offline": ("two", Calls, "tried to connect to ('127.0.0.1', 9)"),
    "shapes-are-as-promised": ("two", Promises, "(2, 4, 16, 16); promised are (2, 5, h, w)"),
    "groups-cover-every-parameter": ("two", LeavesOut, "By stage, 'first.weight' is in no group"),
    "groups-are-in-forward-order": ("two", Disorder, "'second' is reached before 'first'"),
    "every-parameter-gets-a-gradient": ("two", Spare, "'third.weight' the first"),
    "weights-reload": ("two", Secret, "The same weights give other maps"),
}


def spec(name: str, build: Callable[..., Backbone]) -> BackboneSpec:
    return BackboneSpec(name, "two convolutions", build)


def test_the_sound_one_passes_all(states: States) -> None:
    assert states(spec("two", Two)) == {"passed"}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_backbone_fails_just_that(failures: Failures, rule: str) -> None:
    name, build, words = BROKEN[rule]
    found = failures(spec(name, build))
    assert set(found) == {rule}
    assert words in found[rule]


class InTwo(Two):
    def groups(self, by: Any = "block") -> Any:
        return [*super().groups(by), super().groups(by)[0]]


class Foreign(Two):
    def groups(self, by: Any = "block") -> Any:
        return [*super().groups(by), Group("far", (nn.Parameter(torch.zeros(1)),))]


class GreyMeans(Two):
    def __init__(self) -> None:
        super().__init__()
        self.input = Input(size=(16, 16), mean=(0.5,), std=(0.5,))


class Undefined(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / 0


class Vectors(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).mean((2, 3))


class NoBackbone(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 4, 1)


class Crashes(Two):
    def __init__(self) -> None:
        raise ValueError("no such width")


class CrashesForward(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such size")


@pytest.mark.parametrize(
    ("build", "rule", "words"),
    [
        (InTwo, "groups-cover-every-parameter", "By stage, 'first.weight' is in 2 groups"),
        (Foreign, "groups-cover-every-parameter", "a group holds a parameter that is not the backbone's"),
        (GreyMeans, "shapes-are-as-promised", "has 3 channels, 1 means and 1 deviations"),
        (Undefined, "shapes-are-as-promised", "not finite"),
        (Vectors, "shapes-are-as-promised", "Maps are (2, 4)"),
        (NoBackbone, "builds-offline", "`build` gives a NoBackbone"),
        (Crashes, "builds-offline", "in __init__): no such width"),
        (CrashesForward, "shapes-are-as-promised", "in forward): no such size"),
    ],
)
def test_other_ways_to_break_them(failures: Failures, build: Callable[..., Any], rule: str, words: str) -> None:
    found = failures(spec("two", build))
    assert set(found) == {rule}
    assert words in found[rule]
