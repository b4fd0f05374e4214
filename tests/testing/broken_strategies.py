"""Each check of strategies, tried on one that breaks just that."""

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from mammozoo import Model, Strategy

from ..helpers import call_home

_COUNT = itertools.count()


class Sound(Strategy):
    """Train the last block; the broken ones below change one thing of it."""

    name = "sound"

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or "Broken in one way."

    def trainable(self, model: Model) -> Iterable[nn.Parameter] | None:
        return model.backbone.groups("block")[-1].parameters


def broken(called: str, base: type[Strategy] = Sound, /, **methods: Any) -> type[Strategy]:
    """A strategy with other methods; as a name of this module, so that it can be pickled."""
    globals()[called] = made = type(
        called, (base,), {"__module__": __name__, "__doc__": "Broken in one way.", **methods}
    )
    return made


def last(model: Model) -> Iterable[nn.Parameter]:
    return model.backbone.groups("block")[-1].parameters


def first(model: Model) -> nn.Parameter:
    return next(model.backbone.parameters())


def behind_the_pool(layer: nn.Module) -> Callable[[Strategy, Model], None]:
    def adapt(strategy: Strategy, model: Model) -> None:
        model.backbone.net.maxpool = nn.Sequential(model.backbone.net.maxpool, copy.deepcopy(layer))

    return adapt


def with_extra(length: Callable[[Model], int]) -> Callable[[Strategy, Model], None]:
    return lambda strategy, model: model.backbone.register_buffer("extra", torch.zeros(length(model)))


def rate(factor: float) -> Callable[[Strategy, Model], Any]:
    return lambda strategy, model: dict.fromkeys(last(model), factor)


class Crashes(Sound):
    def adapt(self, model: Model) -> None:
        raise KeyError("layer9")


class OddOption(Sound):
    def __init__(self, place: nn.Module | None = None) -> None:
        self.place = place


class Drifting(nn.Module):
    """A layer that changes its own frozen weight, or its statistics, while it trains."""

    def __init__(self, what: str):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("seen", torch.zeros(1))
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            with torch.no_grad():
                getattr(self, self.what).add_(1.0)
        return x


class Hidden(nn.Module):
    """A number that is in no file."""

    scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.scale += float(self.training)
        return x * self.scale


class Root(nn.Module):
    """Adds nothing, by way of a root of zero, whose gradient is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0 * self.weight.sqrt()


class AlwaysBatch(nn.BatchNorm2d):
    """Learns statistics though the strategy trains nothing of it."""

    def train(self, mode: bool = True) -> Any:
        return super().train(True)


def start_from_a_counter(strategy: Strategy, model: Model) -> None:
    nn.init.constant_(first(model), float(next(_COUNT)))


def no_optimizer(strategy: Strategy, groups: Any, lr: float, weight_decay: float) -> Any:
    raise RuntimeError("no optimizer for you")


class AllOrNothing(Strategy):
    """Has no opinion on what trains, and weighs what the others train; the two below forget a case."""

    name = "all-or-nothing"


def shares(model: Model) -> list[bool]:
    return [parameter.requires_grad for parameter in model.backbone.parameters()]


def divide_by_what_trains(strategy: Strategy, model: Model) -> Mapping[nn.Parameter, float]:
    """Beside `frozen` there are no backbone weights that train."""
    return dict.fromkeys(model.backbone.parameters(), len(shares(model)) / sum(shares(model)))


def expect_all_or_nothing(strategy: Strategy, model: Model) -> Mapping[nn.Parameter, float]:
    """Beside `last-blocks` it is a part."""
    if any(shares(model)) and not all(shares(model)):
        raise IndexError("one factor for each parameter")
    return {}


def expect_to_be_alone(strategy: Strategy, model: Model) -> Mapping[nn.Parameter, float]:
    """`last-blocks` trains the same block, so that only `full` disturbs it."""
    if any(p.requires_grad and p not in set(last(model)) for p in model.backbone.parameters()):
        raise RuntimeError("somebody else trains too")
    return {}


Undecided = broken("Undecided", adapt=start_from_a_counter)
Untyped = broken("Untyped", __init__=lambda self, k=1: setattr(self, "k", k))
Grows = broken("Grows", adapt=with_extra(lambda model: 1 + next(_COUNT)))
ByWeights = broken("ByWeights", adapt=with_extra(lambda model: int((first(model) > 0).sum())))
TrainsTheHead = broken("TrainsTheHead", trainable=lambda self, model: [*last(model), next(model.head.parameters())])
Names = broken("Names", trainable=lambda self, model: [name for name, _ in model.backbone.named_parameters()])
Elsewhere = broken("Elsewhere", lr_scale=lambda self, model: {nn.Parameter(torch.zeros(1)): 1.0})
Unused = broken(
    "Unused",
    adapt=lambda self, model: model.backbone.net.layer4[-1].register_parameter("spare", nn.Parameter(torch.zeros(3))),
)
MovesBatchNorm = broken(
    "MovesBatchNorm", adapt=lambda self, model: setattr(model.backbone.net.bn1, "__class__", AlwaysBatch)
)
Unpicklable = broken("Unpicklable", __init__=lambda self: setattr(self, "pick", lambda model: model))
TakesRoots = broken(
    "TakesRoots", adapt=behind_the_pool(Root()),
    trainable=lambda self, model: [*last(model), model.backbone.net.maxpool[1].weight],
)  # fmt: skip
Twice = broken("Twice", trainable=lambda self, model: [first(model)] * 2)
MovesFrozen = broken("MovesFrozen", adapt=behind_the_pool(Drifting("weight")))
MovesStatistics = broken("MovesStatistics", adapt=behind_the_pool(Drifting("seen")))
Divides = broken("Divides", AllOrNothing, lr_scale=divide_by_what_trains)
Expects = broken("Expects", AllOrNothing, lr_scale=expect_all_or_nothing)
Alone = broken("Alone", lr_scale=expect_to_be_alone)


BROKEN = {"strategies": [
    ("has-name-and-summary", "'bad name'", broken("BadName", name="bad name")),
    ("options-have-types", "'k'", Untyped),
    ("options-have-types", "'place'", OddOption),
    ("adapts-a-network", r"KeyError .*broken_strategies.py, line \d+, in adapt.: 'layer9'", Crashes),
    ("adapt-is-deterministic", "other numbers", Undecided),
    ("adapt-is-deterministic", "'backbone.extra'", Grows),
    ("adapt-needs-no-data", "127.0.0.1.*9", broken("Curious", adapt=call_home)),
    ("adapt-needs-no-data", "'backbone.extra'", ByWeights),
    ("trainable-is-in-the-backbone", "'head.2.weight'", TrainsTheHead),
    ("trainable-is-in-the-backbone", "Entry 1 .* twice", Twice),
    ("trainable-is-in-the-backbone", "Entry 0 .* a str", Names),
    ("every-trainable-gets-a-gradient", "spare' .* no gradient", Unused),
    ("learning-rates-are-positive", "-1.0", broken("Backwards", lr_scale=rate(-1.0))),
    ("learning-rates-are-positive", "not of the model", Elsewhere),
    ("training-goes-through", "no optimizer for you", broken("NoOptimizer", optimizer=no_optimizer)),
    ("training-goes-through", "not finite", broken("Explodes", lr_scale=rate(1e30))),
    ("frozen-weights-stay", "'backbone.net.maxpool.1.weight'", MovesFrozen),
    ("frozen-statistics-stay", "'backbone.net.maxpool.1.seen'", MovesStatistics),
    ("frozen-statistics-stay", "'backbone.net.bn1.running_mean'", MovesBatchNorm),
    ("weights-reload", "other outputs", broken("Forgets", adapt=behind_the_pool(Hidden()))),
    ("pickles", "PicklingError|AttributeError", Unpicklable),
    ("composes-with-frozen", "before 'frozen' .* ZeroDivisionError", Divides),
    ("composes-with-last-blocks", "before 'last-blocks' .* IndexError", Expects),
    ("composes-with-full", "before 'full' .* RuntimeError .*somebody else trains too", Alone),
]}  # fmt: skip
SOUND = {"strategies": [Sound, AllOrNothing]}
