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


BROKEN = [
    ("has-name-and-summary", "'bad name'", Two, "bad name"),
    ("options-have-types", "'width'", untyped, "two"),
    ("builds-offline", "127.0.0.1.*9", Calls, "two"),
    ("builds-offline", "NoBackbone", NoBackbone, "two"),
    ("builds-offline", "in __init__.: no such width", Crashes, "two"),
    ("shapes-are-as-promised", r"\(2, 4, 16, 16\).*\(2, 5, h, w\)", Promises, "two"),
    ("shapes-are-as-promised", "3 channels, 1 means", GreyMeans, "two"),
    ("shapes-are-as-promised", "not finite", Undefined, "two"),
    ("shapes-are-as-promised", r"\(2, 4\)", Vectors, "two"),
    ("shapes-are-as-promised", "in forward.: no such size", CrashesForward, "two"),
    ("groups-cover-every-parameter", "stage, 'first.weight' is in no group", LeavesOut, "two"),
    ("groups-cover-every-parameter", "stage, 'first.weight' is in 2 groups", InTwo, "two"),
    ("groups-cover-every-parameter", "not the backbone's", Foreign, "two"),
    ("groups-are-in-forward-order", "'second' is reached before 'first'", Disorder, "two"),
    ("every-parameter-gets-a-gradient", "2 .*'third.weight'", Spare, "two"),
    ("weights-reload", "other maps", Secret, "two"),
]


def spec(name: str, build: Callable[..., Any]) -> BackboneSpec:
    return BackboneSpec(name, "two convolutions", build)


def test_a_sound_backbone_passes_all(passes: Any) -> None:
    passes(spec("two", Two))


@pytest.mark.parametrize(("rule", "words", "build", "name"), BROKEN)
def test_a_broken_backbone_fails_just_that(
    breaks: Any, rule: str, words: str, build: Callable[..., Any], name: str
) -> None:
    breaks(rule, words, spec(name, build))
