"""What a frozen batch norm gives in the middle of a network that learns: one multiplication backward, nothing kept.

A batch norm with frozen weights and statistics is w · x + v, one pair of constants a channel, so ∂L/∂x = w · g needs neither
x nor sums over the batch. torch's own keeps x all the same, for gradients of weight and bias that nobody asks for. Under
DRS gradients flow through all of them, and the kept inputs would be about half of the memory of a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


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
