"""The standard strategies: which parameters train, how strategies combine, what stays as it is."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from mammozoo import Model, Strategy
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.models.factory import build_strategy
from mammozoo.models.strategy import Composite
from mammozoo.training.prepare import prepare
from mammozoo.training.starts import all_starts
from mammozoo_basics.strategies import Frozen, Full

from ..helpers import network, tiny


def trainable(model: Model) -> set[str]:
    assert all(p.requires_grad for p in model.head.parameters())
    return {name for name, p in model.backbone.named_parameters() if p.requires_grad}


def names(model: Model, *prefixes: str) -> set[str]:
    return {name for name, _ in model.backbone.named_parameters() if name.startswith(prefixes)}


@pytest.mark.parametrize(
    ("text", "prefixes"),
    [
        ("frozen", []),
        ("full", [""]),
        ("scratch", [""]),
        ("last-blocks", ["net.layer4."]),
        ("last-blocks:2", ["net.layer4.", "net.layer3."]),
        ("last-blocks:k=1,by=stage", ["net.layer4."]),
        ("last-blocks:1,layer", ["net.layer4.0.downsample."]),
        ("last-blocks:5", ["net."]),
    ],
)
def test_what_learns(text: str, prefixes: list[str]) -> None:
    model, _ = network(strategy=text)
    assert trainable(model) == names(model, *prefixes)
    assert bool(trainable(model)) == bool(prefixes)


def test_the_last_block_has_what_follows_it() -> None:
    model, _ = network("mobilenetv2_100", "last-blocks:1")
    assert trainable(model) == names(model, "net.blocks.6.0.", "net.conv_head", "net.bn2.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("last-blocks:0", ["at least 1", "'frozen'"]),
        ("last-blocks:6", ["5 blocks", "'full'"]),
        ("last-blocks:6,by=stage", ["5 stages"]),
        ("last-blocks:1,by=banana", ["'by'", "banana"]),
        ("gamma:0", ["layers 1 to"]),
        ("gamma:x", ["'layer'"]),
        ("frozen:1", ["takes no options"]),
    ],
)
def test_out_of_range(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        network(strategy=text)
    for word in words:
        assert word in str(caught.value)


def test_composition_is_a_union_with_one_start() -> None:
    model, _ = network(strategy="frozen+last-blocks:1")
    assert trainable(model) == names(model, "net.layer4.")
    model, _ = network(strategy="last-blocks:2+last-blocks:1")
    assert trainable(model) == names(model, "net.layer3.", "net.layer4.")
    model, _ = network(strategy="frozen+full")
    assert trainable(model) == names(model, "")
    assert build_strategy("full").starting_weights is None
    assert build_strategy("scratch").starting_weights == "random"
    assert build_strategy("frozen+scratch").starting_weights == "random"
    assert Composite([Randoms(), Randoms()]).starting_weights == "random"
    with pytest.raises(UsageError, match="random, zeros"):
        Composite([Randoms(), Zeros()])


class Slow(Strategy):
    """The first parameter at a tenth of the rate; it does not say which parameters train."""

    name = "slow"

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        first, *_ = model.backbone.parameters()
        return {first: 0.1}


class Sgd(Strategy):
    name = "sgd"

    def optimizer(self, groups, lr, weight_decay):  # type: ignore[no-untyped-def]
        return torch.optim.SGD(groups, lr=lr)


class Zeros(Strategy):
    name = "zeros"
    init = "zeros"


class Randoms(Strategy):
    name = "randoms"
    init = "random"


def test_parameter_groups_by_learning_rate_leave_the_frozen_out() -> None:
    model, _ = network(strategy="full")
    first, *_ = model.backbone.parameters()
    groups = Composite([Full(), Slow(), Slow()]).parameter_groups(model, 0.5)
    assert [group["lr"] for group in groups] == pytest.approx([0.5, 0.005])
    assert [id(p) for p in groups[1]["params"]] == [id(first)]
    everything = [p for group in groups for p in group["params"]]
    assert {id(p) for p in everything} == {id(p) for p in model.parameters()}
    assert len(everything) == len(set(map(id, everything)))
    model, composite = network(strategy="frozen")
    (group,) = composite.parameter_groups(model, 0.1)
    assert [id(p) for p in group["params"]] == [id(p) for p in model.head.parameters()]


def test_without_a_trainable_set_everything_trains_with_one_optimizer_at_most() -> None:
    model, _ = network(strategy="frozen")
    Composite([Slow()]).freeze(model)
    assert trainable(model) == names(model, "")
    Composite([Slow(), Frozen()]).freeze(model)
    assert trainable(model) == set()
    model, composite = network(strategy="frozen")
    groups = composite.parameter_groups(model, 0.1)
    assert composite.optimizer(groups, 0.1, 0.0) is None
    assert isinstance(Composite([Frozen(), Sgd()]).optimizer(groups, 0.1, 0.0), torch.optim.SGD)
    with pytest.raises(UsageError, match="optimizer"):
        Composite([Sgd(), Sgd()]).optimizer(groups, 0.1, 0.0)


def test_scratch_starts_from_random_weights_and_swallows_no_others(command, tiny_run) -> None:
    """Neither those of a file, whether it is there or not, nor those of a run, nor for one point of a grid; others keep theirs."""
    assert prepare(tiny(weights="auto", strategy="scratch")).lineage.weights == "random"
    weights = [
        "file:absent.safetensors",
        f"file:{tiny_run.path / 'model.safetensors'}",
        str(tiny_run.path),
        "imagenet",
        "zoo:nothing",
    ]
    for text in weights:
        with pytest.raises(UsageError, match=r"'scratch' starts from random weights, and the recipe names '"):
            prepare(tiny(weights=text, strategy="scratch"))
    with pytest.raises(UsageError, match="'frozen\\+scratch' starts from random weights"):
        prepare(tiny(weights="imagenet", grid={"strategy": ["full", "frozen+scratch"]}))
    assert prepare(tiny(grid={"strategy": ["full", "scratch"]})).lineage.weights == "random"
    assert all_starts(tiny(weights="auto", grid={"strategy": ["full", "scratch"]})) == [
        ("test_resnet", "imagenet", (32, 32)), ("test_resnet", "random", (32, 32)),
    ]  # fmt: skip
    words = "train --dataset phantom:n=24 --backbone test_resnet --strategy scratch --weights file:absent.safetensors"
    command(*words.split(), "--out", "run").refused(2, "absent.safetensors", "scratch")
    with pytest.raises(NotFoundError, match="absent"):
        prepare(tiny(weights="file:absent.safetensors", strategy="full"))
