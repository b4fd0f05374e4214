"""Each check of backbones, tried on one that breaks just that."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mammozoo import Backbone, BackboneSpec, Group, Input

from ..helpers import call_home


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


def untyped(width=4) -> Two:  # type: ignore[no-untyped-def]
    return Two()


def after(change: Callable[[Two], object]) -> Callable[[], Two]:
    def build() -> Two:
        made = Two()
        change(made)
        return made

    return build


def instead(**methods: Callable[..., Any]) -> Callable[[], Two]:
    return type("Other", (Two,), methods)


def raises(text: str) -> Any:
    raise ValueError(text)


class Secret(Two):
    def __init__(self) -> None:
        super().__init__()
        self.noise = torch.randn(4, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.noise


def backwards(two: Two, x: torch.Tensor) -> torch.Tensor:
    return two.first(torch.relu(two.second(x[:, :1].expand(-1, 4, -1, -1)))[:, :3])


def groups(two: Two, by: Any = "block") -> Any:
    return Two.groups(two, by)


FOREIGN = Group("far", (nn.Parameter(torch.zeros(1)),))
SHAPES, GROUPS = "shapes-are-as-promised", "groups-cover-every-parameter"
BROKEN = {"backbones": [
    ("has-name-and-summary", "'bad name'", BackboneSpec("bad name", "two convolutions", Two)),
    ("options-have-types", "'width'", untyped),
    ("builds-offline", "127.0.0.1.*9", after(call_home)),
    ("builds-offline", "Conv2d", lambda: nn.Conv2d(3, 4, 1)),
    ("builds-offline", "in raises.: no such width", lambda: raises("no such width")),
    (SHAPES, r"\(2, 4, 16, 16\).*\(2, 5, h, w\)", after(lambda two: setattr(two, "channels", 5))),
    (SHAPES, "not finite", instead(forward=lambda two, x: Two.forward(two, x) / 0)),
    (SHAPES, r"\(2, 4\)", instead(forward=lambda two, x: Two.forward(two, x).mean((2, 3)))),
    (SHAPES, "in raises.: no such size", instead(forward=lambda two, x: raises("no such size"))),
    (GROUPS, "stage, 'first.weight' is in no group", instead(groups=lambda two, by="block": groups(two, by)[1:])),
    (
        GROUPS, "stage, 'first.weight' is in 2 groups",
        instead(groups=lambda two, by="block": [*groups(two, by), groups(two, by)[0]]),
    ),
    (GROUPS, "not the backbone's", instead(groups=lambda two, by="block": [*groups(two, by), FOREIGN])),
    ("groups-are-in-forward-order", "'second' is reached before 'first'", instead(forward=backwards)),
    (
        "every-parameter-gets-a-gradient", "2 .*'third.weight'",
        after(lambda two: setattr(two, "third", nn.Conv2d(4, 4, 1))),
    ),
    ("weights-reload", "other maps", Secret),
]}  # fmt: skip


SOUND = {"backbones": [Two]}


def made(thing: Any, request: pytest.FixtureRequest) -> BackboneSpec:
    return thing if isinstance(thing, BackboneSpec) else BackboneSpec("two", "two convolutions", thing)
