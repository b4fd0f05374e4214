"""What a backbone promises: feature maps of the stated shape, and groups of parameters for strategies."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import get_args

import torch
from torch import nn

from mammozoo.models.backbone import Backbone, By, load_exactly
from mammozoo.models.backbone_spec import BackboneSpec
from mammozoo.testing.check import needs, rule
from mammozoo.testing.common import GRADIENT, RELOAD, WithOptions, check_gradients, no_connection, noise


class BackboneRules(WithOptions[BackboneSpec]):
    """Tried on two random images of the size that the network states."""

    @rule("A saved model is rebuilt where there is no network. Build with random weights; `imagenet` loads others.")
    def builds_offline(self) -> None:
        """`build` gives a Backbone and makes no connection."""
        with no_connection("`build`"):
            backbone = self._built()
        assert isinstance(backbone, Backbone), f"`build` gives a {type(backbone).__name__}, not a mammozoo.Backbone."

    @needs(builds_offline)
    @rule("Images are prepared and heads sized by it. State `input` and `channels` as the network has them.")
    def shapes_are_as_promised(self) -> None:
        """Two images of `input`'s size give finite maps (2, `channels`, h, w)."""
        backbone = self._built()
        channels, maps = backbone.channels, _maps(backbone)
        form = tuple(maps.shape)
        assert len(form) == 4 and form[:2] == (2, channels), f"Maps are {form}; promised are (2, {channels}, h, w)."
        assert torch.isfinite(maps).all(), "Maps of random images are not finite."

    @needs(builds_offline)
    @rule("Strategies count them. Name a block and a stage for each parameter, in `named_parameters` order.")
    def groups_cover_every_parameter(self) -> None:
        """By stage, block and layer every parameter is in exactly one group."""
        backbone = self._built()
        names = {parameter: name for name, parameter in backbone.named_parameters()}
        for by in get_args(By):
            count = Counter(parameter for group in backbone.groups(by) for parameter in group.parameters)
            for parameter, times in count.items():
                name = names.get(parameter, "a parameter of another module")
                assert times == 1, f"By {by}, '{name}' is in {times} groups."
            left_out = [name for parameter, name in names.items() if parameter not in count]
            assert not left_out, f"By {by}, '{left_out[0]}' is in no group."
            assert count.keys() <= names.keys(), f"By {by}, a group holds a parameter that is not the backbone's."

    @needs(shapes_are_as_promised, groups_cover_every_parameter)
    @rule("The last group must be nearest to the head. Register modules in the order in which `forward` calls them.")
    def groups_are_in_forward_order(self) -> None:
        """Stages and blocks come in the order in which a forward pass first reaches them."""
        backbone = self._built()
        reached = _order_of_parameters(backbone)
        for by in ("stage", "block"):
            groups = {
                group.name: [reached[p] for p in group.parameters if p in reached] for group in backbone.groups(by)
            }
            for before, after in itertools.pairwise(name for name in groups if groups[name]):
                in_order = min(groups[before]) <= min(groups[after])
                assert in_order, f"The {by} '{after}' is reached before '{before}', which it follows in the list."

    @needs(shapes_are_as_promised)
    @rule(GRADIENT)
    def every_parameter_gets_a_gradient(self) -> None:
        """After a backward pass from the maps no parameter is without a gradient."""
        backbone = self._built().eval().requires_grad_()  # in eval mode no drop path leaves out a weight
        maps = backbone(_images(backbone))
        (maps * noise(*maps.shape, seed=1)).sum().backward()
        check_gradients(backbone)

    @needs(shapes_are_as_promised)
    @rule(RELOAD)
    def weights_reload(self) -> None:
        """Its weights in one built anew give the same maps."""
        first, second = self._built(), self._built(seed=1)
        load_exactly(second, first.state_dict())
        assert torch.equal(_maps(first), _maps(second)), "The same weights give other maps."

    def _built(self, seed: int = 0) -> Backbone:
        return self._make(self.value.build, seed=seed)


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

    for module in backbone.modules():
        module.register_forward_pre_hook(note)
    _maps(backbone)
    return order
