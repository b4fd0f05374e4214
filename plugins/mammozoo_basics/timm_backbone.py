"""timm's networks as backbones: feature maps, blocks and stages by timm's own knowledge of each family."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping

import timm
import torch
from mammozoo.data.input import Input
from mammozoo.errors import IncompatibleError
from mammozoo.models.backbone import (
    Backbone,
    BackboneSpec,
    Followed,
    Make,
    load_exactly,
    output_shapes,
)
from timm.layers import ClassifierHead, NormMlpClassifierHead
from timm.models import resnet, vgg
from timm.models._manipulate import group_parameters
from torch import nn

from mammozoo_basics.imagenet import load_from_hub

class TimmBackbone(Backbone):
    """`timm.create_model(name)` without its classifier."""

    def __init__(self, name: str):
        super().__init__()
        self.net = timm.create_model(name, num_classes=0, global_pool="")
        _drop_unused(self.net)
        config = self.net.pretrained_cfg
        self.channels = self.net.num_features
        channels, height, width = config["input_size"]
        self.input = Input(
            size=(height, width), channels=channels, mean=tuple(config["mean"]), std=tuple(config["std"])
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) images → (N, channels, h, w) feature maps."""
        return self.net.forward_features(x)

    def block_names(self) -> list[str]:
        """timm's groups, each named by the prefix that its parameters share."""
        groups = group_parameters(self.net, self.net.group_matcher(coarse=False))
        owner = {}
        for number, members in groups.items():
            prefix = os.path.commonprefix(members)
            label = prefix[: prefix.rindex(".")] if "." in prefix else ""
            owner |= dict.fromkeys(members, label or ("stem" if number == 0 else members[0].split(".")[0]))
        return [owner[name] for name, _ in self.net.named_parameters()]

    def stage_names(self) -> list[str]:
        """The stages between which the resolution changes, from `feature_info`; what follows the last belongs to it."""
        modules = [name for name, _ in self.net.named_modules()]
        ends = [
            max(i for i, name in enumerate(modules) if f"{name}.".startswith(f"{info['module']}."))
            for info in self.net.feature_info
        ]
        place = {name: i for i, name in enumerate(modules)}
        names = []
        for name, _ in self.net.named_parameters():
            at = place[name.rpartition(".")[0]]
            stage = min(sum(end < at for end in ends), len(ends) - 1)
            names.append(f"stage{stage}")
        return names

    def insert_before_final_activations(self, make: Make) -> list[nn.Module]:
        """Before `act3` (or `act2`) of ResNet blocks; at the end of the blocks of other families."""
        blocks = [
            module
            for module in self.net.modules()
            if isinstance(module, resnet.Bottleneck | resnet.BasicBlock)
        ]
        if blocks:
            shapes = output_shapes(self, blocks, self.input)
            layers = [make(*shape) for shape in shapes]
            for block, layer in zip(blocks, layers, strict=True):
                last = "act3" if isinstance(block, resnet.Bottleneck) else "act2"
                setattr(block, last, nn.Sequential(layer, getattr(block, last)))
            return layers
        places = [name for name in dict.fromkeys(self.block_names()) if self._is_block(name)]
        if not places:
            raise IncompatibleError(f"mammozoo knows no residual blocks in {type(self.net).__name__}.")
        shapes = output_shapes(self, [self.net.get_submodule(name) for name in places], self.input)
        layers = [make(*shape) for shape in shapes]
        for name, layer in zip(places, layers, strict=True):
            parent, _, child = name.rpartition(".")
            owner = self.net.get_submodule(parent)
            owner.add_module(child, Followed(self.net.get_submodule(name), layer))
        return layers

    def load_pretrained(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load timm's own weights of this network, with or without its classifier."""
        head = self.net.pretrained_cfg.get("classifier") or ()
        heads = tuple(f"{name}." for name in ((head,) if isinstance(head, str) else head))
        own = self.net.state_dict()
        dropped = {name: tensor for name, tensor in state.items() if name in own or not _unused(name, heads)}
        load_exactly(self.net, dropped)

    def _is_block(self, name: str) -> bool:
        """Whether a group is one block inside a sequence of blocks, not the stem or what follows the blocks."""
        parent, _, child = name.rpartition(".")
        if not child.isdigit():
            return False
        return isinstance(self.net.get_submodule(parent), nn.Sequential | nn.ModuleList)


def specs() -> Iterator[BackboneSpec]:
    """One spec for each network that timm lists; one that makes no feature maps is refused when a head is put on it."""
    for name in timm.list_models():
        yield BackboneSpec(
            name, "timm", functools.partial(TimmBackbone, name), imagenet=functools.partial(_imagenet, name)
        )


def _imagenet(name: str, backbone: Backbone) -> None:
    backbone.load_pretrained(load_from_hub(timm.get_pretrained_cfg(name), name))


#: Parts behind the feature map that `forward_features` never reaches; they would only confuse optimizers and DDP.
_BEHIND = ("pre_logits.", "conv_head.", "norm_head.", "head.", "head_fc.")


def _unused(name: str, heads: tuple[str, ...]) -> bool:
    return name.startswith(heads + _BEHIND)


def _drop_unused(net: nn.Module) -> None:
    if isinstance(net, vgg.VGG):
        net.pre_logits = nn.Identity()
        net.num_features = net.features[-1].num_features if hasattr(net.features[-1], "num_features") else 512
    if type(net).__name__ == "MobileNetV3":
        net.num_features = net.feature_info[-1]["num_chs"]
        net.conv_head, net.norm_head = nn.Identity(), nn.Identity()
    if isinstance(getattr(net, "head", None), ClassifierHead | NormMlpClassifierHead):
        net.head = nn.Identity()
