"""A DRS layer beside its two equations in float64, for the tests of every device."""

import copy
import random

import torch

from mammozoo_drs.drs import DrsLayer

FORMATS = [torch.contiguous_format, torch.channels_last]

#: Shapes with one image, one channel, one position, more than a tile of the Triton kernels, and odd sizes.
SHAPES: list[tuple[int, ...]] = [
    (1, 1, 1, 1),
    (1, 3, 5, 7),
    (4, 16, 4, 4),
    (9, 32, 7, 7),
    (5, 1, 19, 17),
    (3, 513, 1, 1),
]
SHAPES += [tuple(random.Random(seed).randint(1, most) for most in (11, 40, 13, 13)) for seed in range(2)]


def plain(layer: DrsLayer, y: torch.Tensor) -> torch.Tensor:
    """The two equations one after the other."""
    return layer.depth_weight * (layer.spatial_weight * y + layer.spatial_bias) + layer.depth_bias


def activation(shape: tuple[int, ...], dtype: torch.dtype, format: torch.memory_format, device: str) -> torch.Tensor:
    return torch.randn(shape).to(device, dtype).to(memory_format=format)


def layer_for(shape: tuple[int, ...], device: str = "cpu") -> DrsLayer:
    layer = DrsLayer(*shape[1:])
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer.to(device)


def errors(
    layer: DrsLayer, y: torch.Tensor, g: torch.Tensor, learns: bool = True, of_y: bool = True
) -> dict[str, float]:
    """Relative errors (2-norm) of z and of the gradients that are asked for; dtypes and strides of z and y's gradient hold."""
    y = y.detach().requires_grad_(of_y)
    layer.requires_grad_(learns)
    z = layer(y)
    inputs = ([y] if of_y else []) + (list(layer.parameters()) if learns else [])
    names = ["z"] + (["y"] if of_y else []) + ([name for name, _ in layer.named_parameters()] if learns else [])
    found = [z, *torch.autograd.grad(z, inputs, g)]
    for like_y in found[: 1 + of_y]:
        assert (like_y.dtype, like_y.shape, like_y.device) == (y.dtype, y.shape, y.device)
        assert like_y.is_contiguous() if y.is_contiguous() else like_y.stride() == y.stride()

    exact = copy.deepcopy(layer).double().requires_grad_()
    y64 = y.detach().double().requires_grad_()
    z64 = plain(exact, y64)
    every = dict(zip(["y", *dict(layer.named_parameters())], [y64, *exact.parameters()], strict=True))
    expected = [z64, *torch.autograd.grad(z64, [every[name] for name in names[1:]], g.double())]
    return {
        name: float((ours.double() - theirs).detach().norm() / theirs.detach().norm().clamp_min(1e-30))
        for name, ours, theirs in zip(names, found, expected, strict=True)
    }
