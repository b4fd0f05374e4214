"""The network under a head: image in, feature map out, its parameters in named groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from mammozoo.data.preprocessing import Input
from mammozoo.errors import IncompatibleError, UsageError

By = Literal["stage", "block", "layer"]
#: Builds the module to insert before a final activation: (channels, height, width) → module.
Make = Callable[[int, int, int], nn.Module]


@dataclass(frozen=True)
class Group:
    """Parameters that belong together, in forward order: a stage, a block, or a layer with its norm."""

    name: str
    parameters: tuple[nn.Parameter, ...]

    @property
    def size(self) -> int:
        """How many numbers the group holds."""
        return sum(parameter.numel() for parameter in self.parameters)


class Backbone(nn.Module):
    """Base of every backbone: (N, C, H, W) images → (N, `channels`, h, w) feature maps.

    A subclass sets `channels` and `input`, and implements `forward`, `block_names`, `stage_names` and, if its blocks end in an
    activation that a layer can precede, `insert_before_final_activations`.
    """

    channels: int
    input: Input

    def block_names(self) -> Sequence[str]:
        """The name of each parameter's block, in `named_parameters` order."""
        raise NotImplementedError

    def stage_names(self) -> Sequence[str]:
        """The name of each parameter's stage, in `named_parameters` order."""
        raise NotImplementedError

    def insert_before_final_activations(self, make: Make) -> list[nn.Module]:
        """Insert `make(channels, height, width)` before the last activation of every residual block.

        A block without a final activation gets the module at its end. Returns the modules in forward order.

        Raises:
            IncompatibleError: this network has no residual blocks.
        """
        raise IncompatibleError(f"{type(self).__name__} has no residual blocks to insert layers into.")

    def load_pretrained(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load weights published under the network's own names; a classifier among them is ignored.

        Raises:
            IncompatibleError: names or shapes differ.
        """
        load_exactly(self, state)

    def groups(self, by: By = "block") -> list[Group]:
        """All parameters, each exactly once, in groups in forward order.

        `layer` counts convolutions and dense layers. A norm, bias or scale belongs to the layer before it; the parameters that a
        strategy has wrapped around a layer belong to that layer.

        Raises:
            UsageError: `by` is not one of the three.
        """
        names = {"stage": self.stage_names, "block": self.block_names, "layer": self._layer_names}.get(by)
        if names is None:
            raise UsageError(f"Groups are by stage, block or layer, not by '{by}'.")
        grouped: dict[str, list[nn.Parameter]] = {}
        for name, parameter in zip(names(), self.parameters(), strict=True):
            grouped.setdefault(name, []).append(parameter)
        return [Group(name, tuple(parameters)) for name, parameters in grouped.items()]

    def _layer_names(self) -> list[str]:
        weighted = self._layers_by_weight()
        names, current = [], next(iter(weighted.values()), "first")  # tokens and positions belong to the first layer
        for name, _ in self.named_parameters():
            current = weighted.get(name, current)
            names.append(current)
        return names

    def _layers_by_weight(self) -> dict[str, str]:
        """Name of its weight → name of the layer, for every convolution and dense layer.

        A module that keeps the layer it wraps as `base_layer` (adapters of `peft` do) counts as that one layer.
        """
        modules = dict(self.named_modules())
        wrappers = [
            name for name, module in modules.items() if isinstance(getattr(module, "base_layer", None), nn.Module)
        ]
        layers = {}
        for name, module in modules.items():
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                wrapper = next((other for other in wrappers if name.startswith(f"{other}.")), None)
                if wrapper is None or name == f"{wrapper}.base_layer":
                    layers[f"{name}.weight"] = wrapper or name
        return layers


class Followed(nn.Module):
    """A block followed by a layer, for blocks without a final activation."""

    def __init__(self, block: nn.Module, layer: nn.Module):
        super().__init__()
        self.block, self.layer = block, layer

    def forward(self, *inputs: Any, **more: Any) -> torch.Tensor:
        """The layer's output for the block's output."""
        return self.layer(self.block(*inputs, **more))


def output_shapes(network: nn.Module, places: Sequence[nn.Module], input: Input) -> list[tuple[int, int, int]]:
    """(channels, height, width) of the output of each module in `places`, for one image of the input's size.

    Raises:
        IncompatibleError: an output is not a feature map (N, C, H, W).
    """
    outputs = raw_output_shapes(network, places, input)
    if any(len(shape) != 4 for shape in outputs):
        raise IncompatibleError(
            f"{type(network).__name__} makes no feature maps (N, C, H, W), and mammozoo works on those."
        )
    return [(shape[1], shape[2], shape[3]) for shape in outputs]


@torch.no_grad()
def raw_output_shapes(network: nn.Module, places: Sequence[nn.Module], input: Input) -> list[torch.Size]:
    """The shape of the output of each module in `places`, for one image of the input's size; () where it is no tensor."""
    shapes: dict[nn.Module, torch.Size] = {}

    def note(module: nn.Module, _: object, output: object) -> None:
        shapes[module] = output.shape if isinstance(output, torch.Tensor) else torch.Size()

    handles = [place.register_forward_hook(note) for place in places]
    was_training = network.training
    try:
        parameter = next(network.parameters())
        network.eval()(torch.zeros(1, input.channels, *input.size, device=parameter.device, dtype=parameter.dtype))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return [shapes[place] for place in places]


def load_exactly(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load `state` into `module`; every name and shape must agree.

    Raises:
        IncompatibleError: with the first few differences.
    """
    own = module.state_dict()
    # Batch norm's counter, which some exports omit, has no influence on our outputs.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in own]
    reshaped = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [f"missing {name}" for name in missing] + [f"unknown {name}" for name in unknown] + reshaped
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise IncompatibleError(f"The weights do not fit the network: {'; '.join(problems[:3])}{more}.")
    module.load_state_dict(dict(state), strict=False)
