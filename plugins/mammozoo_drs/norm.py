"""Batch norms that keep nothing while they are frozen, in the middle of a network that learns.

A batch norm with frozen weights and statistics is w · x + v, one pair of constants a channel, so ∂L/∂x = w · g needs neither
x nor sums over the batch. torch's own keeps x all the same, for gradients of weight and bias that nobody asks for. Under
DRS gradients flow through all of them, and the kept inputs would be about half of the memory of a step.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class LeanBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with the same parameters and values that keeps nothing while it is frozen."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        return fixed(self, x) if is_fixed(self, x) else super().forward(x)


def lean(network: NetworkT) -> NetworkT:
    """`network` with its batch norms turned lean in place; names and values stay, and other subclasses are left alone."""
    for module in network.modules():
        kind = type(module)
        if kind is nn.BatchNorm2d:
            module.__class__ = LeanBatchNorm2d
        elif kind.__name__ == "BatchNormAct2d" and kind.__module__.startswith("timm."):
            from mammozoo_drs.norm_timm import LeanBatchNormAct2d

            module.__class__ = LeanBatchNormAct2d
    return network


def is_fixed(norm: _BatchNorm, x: torch.Tensor) -> bool:
    """Whether a norm is constant and only the gradient of its input is asked for."""
    learns = norm.training or any(p.requires_grad for p in norm.parameters())
    return x.requires_grad and torch.is_grad_enabled() and norm.running_mean is not None and not learns


def fixed(norm: _BatchNorm, x: torch.Tensor) -> torch.Tensor:
    """What a frozen norm gives, keeping nothing of `x`."""
    return _Fixed.apply(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)


class _Fixed(torch.autograd.Function):
    @staticmethod
    def forward(
        x: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
    ) -> torch.Tensor:
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        _, _, variance, weight, _, eps = inputs
        ctx.save_for_backward(variance, weight)
        ctx.eps = eps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        variance, weight = ctx.saved_tensors
        # The forward kernel once more: on every device it multiplies a bfloat16 g by a float32 factor in one pass.
        dx = F.batch_norm(g, torch.zeros_like(variance), variance, weight, None, False, 0.0, ctx.eps)
        return dx, None, None, None, None, None
