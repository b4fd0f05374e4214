"""The standard strategies: which parameters train, how strategies combine, what stays as it is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from mammozoo import Model, Strategy
from mammozoo.config.recipe import load
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.models.factory import build_backbone, build_model, build_strategy
from mammozoo.models.strategy import Composite
from mammozoo.training.prepare import prepare
from mammozoo_basics.strategies import Frozen, Full

CLASSES = ("benign", "malignant")


def build(text: str, name: str = "test_resnet") -> tuple[Model, Composite]:
    backbone = build_backbone(name)
    return build_model(backbone, text, "gap", CLASSES, backbone.input.model_copy(update={"size": (64, 64)}))


def trainable(model: Model) -> set[str]:
    """Names in the backbone that require gradients; the head must always."""
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
    model, _ = build(text)
    assert trainable(model) == names(model, *prefixes)
    assert bool(trainable(model)) == bool(prefixes)


def test_last_blocks_counts_what_follows_the_last_block_to_it() -> None:
    model, _ = build("last-blocks:1", "mobilenetv2_100")
    assert trainable(model) == names(model, "net.blocks.6.0.", "net.conv_head", "net.bn2.")


def test_gamma_freezes_exactly_the_layers_before() -> None:
    groups = build_backbone("test_resnet").groups("layer")
    for gamma in (1, 2, 7, len(groups)):
        model, _ = build(f"gamma:{gamma}")
        learning = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
        assert learning == sum(group.size for group in groups[gamma - 1 :])


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
        build(text)
    for word in words:
        assert word in str(caught.value)


def test_composition_is_a_union() -> None:
    model, _ = build("frozen+last-blocks:1")
    assert trainable(model) == names(model, "net.layer4.")
    model, _ = build("last-blocks:2+last-blocks:1")
    assert trainable(model) == names(model, "net.layer3.", "net.layer4.")
    model, _ = build("frozen+full")
    assert trainable(model) == names(model, "")


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


def test_parameter_groups_by_learning_rate() -> None:
    model, _ = build("full")
    first, *_ = model.backbone.parameters()
    groups = Composite([Full(), Slow(), Slow()]).parameter_groups(model, 0.5)
    assert [group["lr"] for group in groups] == pytest.approx([0.5, 0.005])
    assert [id(p) for p in groups[1]["params"]] == [id(first)]
    everything = [p for group in groups for p in group["params"]]
    assert {id(p) for p in everything} == {id(p) for p in model.parameters()}
    assert len(everything) == len(set(map(id, everything)))


def test_parameter_groups_leave_the_frozen_out() -> None:
    model, composite = build("frozen")
    (group,) = composite.parameter_groups(model, 0.1)
    assert [id(p) for p in group["params"]] == [id(p) for p in model.head.parameters()]


def test_without_a_trainable_set_everything_trains() -> None:
    model, _ = build("frozen")
    Composite([Slow()]).freeze(model)
    assert trainable(model) == names(model, "")
    Composite([Slow(), Frozen()]).freeze(model)
    assert trainable(model) == set()


def test_one_optimizer_at_most() -> None:
    model, composite = build("frozen")
    groups = composite.parameter_groups(model, 0.1)
    assert composite.optimizer(groups, 0.1, 0.0) is None
    assert isinstance(Composite([Frozen(), Sgd()]).optimizer(groups, 0.1, 0.0), torch.optim.SGD)
    with pytest.raises(UsageError, match="optimizer"):
        Composite([Sgd(), Sgd()]).optimizer(groups, 0.1, 0.0)


def test_starting_weights() -> None:
    assert build_strategy("full").starting_weights is None
    assert build_strategy("scratch").starting_weights == "random"
    assert build_strategy("frozen+scratch").starting_weights == "random"
    assert Composite([Randoms(), Randoms()]).starting_weights == "random"
    with pytest.raises(UsageError, match="random, zeros"):
        Composite([Randoms(), Zeros()])


def test_scratch_starts_from_random_weights_whatever_the_recipe_names() -> None:
    """Here weights that are not there."""
    recipe = load(None, {"dataset": "phantom:n=30", "backbone": "test_resnet", "weights": "file:absent.safetensors", "size": 32,
                         "strategy": "scratch", "device": "cpu"})  # fmt: skip
    prepared = prepare(recipe)
    assert prepared.lineage.weights == "random"
    with pytest.raises(NotFoundError, match="absent"):
        prepare(recipe.model_copy(update={"strategy": "full"}))
