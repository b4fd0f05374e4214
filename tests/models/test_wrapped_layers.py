"""A layer that a strategy has wrapped, keeping it as `base_layer`, counts once: `last-blocks:by=layer` means what it meant."""

from __future__ import annotations

import torch
from torch import nn

from mammozoo.models.backbone import Backbone
from mammozoo.models.factory import build_backbone


class LowRank(nn.Module):
    """A convolution and two small ones beside it, as `peft` lays them out."""

    def __init__(self, base_layer: nn.Conv2d):
        super().__init__()
        self.base_layer = base_layer
        self.down = nn.Conv2d(base_layer.in_channels, 2, 3, padding=1, bias=False)
        self.up = nn.Conv2d(2, base_layer.out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.base_layer(x) + self.up(self.down(x))
        return out


def wrapped(backbone: Backbone) -> Backbone:
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.Conv2d):
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, LowRank(module))
    return backbone


def test_a_wrapped_layer_is_one_layer_of_the_old_name() -> None:
    plain, changed = build_backbone("resnet9:width=4"), wrapped(build_backbone("resnet9:width=4"))
    assert [group.name for group in changed.groups("layer")] == [group.name for group in plain.groups("layer")]
    assert len(plain.groups("layer")) == 8


def test_what_was_put_around_a_layer_belongs_to_it() -> None:
    changed = wrapped(build_backbone("resnet9:width=4"))
    last = changed.groups("layer")[-1]
    names = {name for name, parameter in changed.named_parameters() if parameter in set(last.parameters)}
    assert names == {
        f"res3.conv2.{part}"
        for part in ("conv.base_layer.weight", "conv.down.weight", "conv.up.weight", "norm.weight", "norm.bias")
    }


def test_every_parameter_is_in_one_group_still() -> None:
    changed = wrapped(build_backbone("test_resnet"))
    grouped = [parameter for group in changed.groups("layer") for parameter in group.parameters]
    assert len(grouped) == len(set(grouped)) == len(list(changed.parameters()))
