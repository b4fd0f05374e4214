"""What a backbone promises: feature maps of the stated shape, and groups of parameters for strategies."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import get_args

import torch
from torch import nn

from mammozoo.models.backbone import Backbone, BackboneSpec, By, load_exactly
from mammozoo.testing.check import Rule, Subject, rule
from mammozoo.testing.common import build, check_gradients, has_name_and_summary, noise, options_have_types
from mammozoo.testing.sandbox import offline

BackboneSubject = Subject[BackboneSpec]


@rule()
def builds_offline(subject: BackboneSubject) -> None:
    """`build` gives a Backbone and makes no connection.

    A saved model is rebuilt where there is no network. Build with random weights; ImageNet weights are loaded by `imagenet`.
    """
    with offline() as attempts:
        backbone = _built(subject)
    assert not attempts, f"`build` tried to connect to {attempts[0]}."
    assert isinstance(backbone, Backbone), f"`build` gives a {type(backbone).__name__}, not a mammozoo.Backbone."


@rule(builds_offline)
def shapes_are_as_promised(subject: BackboneSubject) -> None:
    """Two images of `input`'s size give finite maps (2, `channels`, h, w).

    Images are prepared by it, and a head is sized by it. State `input` and `channels` as the network has them.
    """
    backbone = _built(subject)
    input = backbone.input
    assert len(input.mean) == len(input.std) == input.channels, (
        f"`input` has {input.channels} channels, {len(input.mean)} means and {len(input.std)} deviations."
    )
    maps = _maps(backbone)
    assert maps.ndim == 4 and tuple(maps.shape[:2]) == (2, backbone.channels), (
        f"Maps are {tuple(maps.shape)}; promised are (2, {backbone.channels}, h, w)."
    )
    assert torch.isfinite(maps).all(), "Maps of random images are not finite."


@rule(builds_offline)
def groups_cover_every_parameter(subject: BackboneSubject) -> None:
    """By stage, block and layer every parameter is in exactly one group.

    `last-blocks` and every other strategy that counts trains or forgets what is missing. Name a block and a stage for every
    parameter, in `named_parameters` order.
    """
    backbone = _built(subject)
    names = {parameter: name for name, parameter in backbone.named_parameters()}
    for by in get_args(By):
        count = Counter(parameter for group in backbone.groups(by) for parameter in group.parameters)
        for parameter, times in count.items():
            name = names.get(parameter, "a parameter of another module")
            assert times == 1, f"By {by}, '{name}' is in {times} groups."
        left_out = [name for parameter, name in names.items() if parameter not in count]
        assert not left_out, f"By {by}, '{left_out[0]}' is in no group."
        assert count.keys() <= names.keys(), f"By {by}, a group holds a parameter that is not the backbone's."


@rule(shapes_are_as_promised, groups_cover_every_parameter)
def groups_are_in_forward_order(subject: BackboneSubject) -> None:
    """Stages and blocks come in the order in which a forward pass first reaches them.

    The last group must be the one nearest to the head. Register modules in the order in which `forward` calls them.
    """
    backbone = _built(subject)
    reached = _order_of_parameters(backbone)
    for by in ("stage", "block"):
        places = {group.name: [reached[p] for p in group.parameters if p in reached] for group in backbone.groups(by)}
        for before, after in itertools.pairwise(name for name in places if places[name]):
            assert min(places[before]) <= min(places[after]), (
                f"The {by} '{after}' is reached before '{before}', which it follows in the list."
            )


@rule(shapes_are_as_promised)
def every_parameter_gets_a_gradient(subject: BackboneSubject) -> None:
    """After a backward pass from the maps no parameter is without a gradient.

    A parameter without a gradient is counted, stored, and never used. Drop layers that `forward` does not call.
    """
    backbone = _built(subject).eval().requires_grad_()  # in eval mode no drop path leaves out a weight
    maps = backbone(_images(backbone))
    (maps * noise(*maps.shape, seed=1)).sum().backward()
    check_gradients(backbone)


@rule(shapes_are_as_promised)
def weights_reload(subject: BackboneSubject) -> None:
    """Its weights in one built anew give the same maps.

    A model is a safetensors file and a config; nothing else travels. Keep all state in registered parameters and buffers.
    """
    first, second = _built(subject), _built(subject, seed=1)
    load_exactly(second, first.state_dict())
    assert torch.equal(_maps(first), _maps(second)), "The same weights give other maps."


RULES: list[Rule[BackboneSpec]] = [
    has_name_and_summary, options_have_types, builds_offline, shapes_are_as_promised, groups_cover_every_parameter,
    groups_are_in_forward_order, every_parameter_gets_a_gradient, weights_reload,
]  # fmt: skip


def _built(subject: BackboneSubject, seed: int = 0) -> Backbone:
    return build(subject, subject.value.build, seed=seed)


def _images(backbone: Backbone) -> torch.Tensor:
    return noise(2, backbone.input.channels, *backbone.input.size)


@torch.no_grad()
def _maps(backbone: Backbone) -> torch.Tensor:
    return backbone.eval()(_images(backbone))


def _order_of_parameters(backbone: Backbone) -> dict[nn.Parameter, int]:
    """Parameter → place in a forward pass: that of the first call of the module that owns it."""
    order: dict[nn.Parameter, int] = {}

    def note(module: nn.Module, *_: object) -> None:
        for parameter in module.parameters(recurse=False):
            order.setdefault(parameter, len(order))

    handles = [module.register_forward_pre_hook(note) for module in backbone.modules()]
    _maps(backbone)
    for handle in handles:
        handle.remove()
    return order
