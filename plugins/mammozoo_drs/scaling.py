"""The arithmetic of a DRS layer: one pass over the activation forward and one backward, by a kernel that torch has.

With a = D_m · S_m and b = D_m · S_b + D_b, both (C, H, W), the two equations of a layer are one, z = a · y + b, and so

    ∂L/∂y = a · g            ∂L/∂S_m = Σ_k D_m · P              ∂L/∂S_b = Σ_k D_m · G        with g = ∂L/∂z,
    P = Σ_n g · y            ∂L/∂D_m = Σ_ij S_m · P + S_b · G   ∂L/∂D_b = Σ_ij G             G = Σ_n g

A batch norm with fixed mean 0 and variance 1 over C · H · W "channels" is exactly z = a · y + b, and the backward pass of
its kernel gives a · g, P and G together. It reads and writes bfloat16 but multiplies and adds in float32. A chain of
elementwise operations would need float32 copies of y and g for that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

_REDUCED = (torch.bfloat16, torch.float16)


def scale(
    y: torch.Tensor,
    spatial_weight: torch.Tensor,
    spatial_bias: torch.Tensor,
    depth_weight: torch.Tensor,
    depth_bias: torch.Tensor,
) -> torch.Tensor:
    """D_m · (S_m · y + S_b) + D_b in y's dtype and memory format; differentiable once.

    Args:
        y: (N, C, H, W), of any floating dtype; bfloat16 and float16 are computed in float32 and rounded once.
        spatial_weight, spatial_bias: (1, 1, H, W).
        depth_weight, depth_bias: (1, C, 1, 1).
    """
    exact = torch.float32 if y.dtype in _REDUCED else y.dtype
    s_m, s_b, d_m, d_b = (p.to(exact) for p in (spatial_weight, spatial_bias, depth_weight, depth_bias))
    if y.dtype == exact and not torch.is_grad_enabled():
        # The plain formula, which exporters can read. The result lies in memory as b does.
        b = torch.addcmul(d_b, d_m, s_b).contiguous(memory_format=_layout(y))
        return torch.addcmul(b, d_m * s_m, y)
    return _Scale.apply(y, s_m, s_b, d_m, d_b)


class _Scale(torch.autograd.Function):
    """Keeps y alone, and that only where one of the four parameters learns."""

    @staticmethod
    def forward(
        y: torch.Tensor, s_m: torch.Tensor, s_b: torch.Tensor, d_m: torch.Tensor, d_b: torch.Tensor
    ) -> torch.Tensor:
        layout = _layout(y)
        s_m, s_b, d_m, d_b = (_permuted(p, layout) for p in (s_m, s_b, d_m, d_b))
        return _affine(y, d_m * s_m, torch.addcmul(d_b, d_m, s_b), layout)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        y, s_m, s_b, d_m, _ = inputs
        ctx.layout = _layout(y)
        ctx.save_for_backward(y if any(ctx.needs_input_grad[1:]) else None, s_m, s_b, d_m)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        y, *parameters = ctx.saved_tensors
        layout = ctx.layout
        s_m, s_b, d_m = (_permuted(p, layout) for p in parameters)
        a = d_m * s_m
        if y is None:
            return _affine(g, a, torch.zeros_like(a), layout), None, None, None, None
        mean, variance = torch.zeros_like(a).flatten(), torch.ones_like(a).flatten()
        dy, p, sum_g = torch.ops.aten.native_batch_norm_backward(
            _flat(g, layout), _flat(y, layout), a.flatten(), mean, variance, None, None, False, 0.0,
            [ctx.needs_input_grad[0], True, True],
        )  # fmt: skip
        p, sum_g = p.view_as(a), sum_g.view_as(a)
        grads = (
            (d_m * p).sum_to_size(s_m.shape),
            (d_m * sum_g).sum_to_size(s_m.shape),
            (s_m * p).addcmul_(s_b, sum_g).sum_to_size(d_m.shape),
            sum_g.sum_to_size(d_m.shape),
        )
        return (
            _restored(dy.view(_permuted(y, layout).shape), layout) if ctx.needs_input_grad[0] else None,
            *(_restored(grad, layout) for grad in grads),
        )


def _affine(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """a · y + b as a batch norm; a and b are permuted. A new tensor and no view, since a ReLU may work in place on it."""
    z = torch.empty_like(y, memory_format=layout)
    mean, variance = torch.zeros_like(a).flatten(), torch.ones_like(a).flatten()
    unused = a.new_empty(0), a.new_empty(0)  # statistics of the batch: outputs, of the size the kernel likes
    torch.ops.aten.native_batch_norm.out(
        _flat(y, layout), a.flatten(), b.flatten(), mean, variance, False, 0.0, 0.0,
        out=_flat(z, layout), save_mean=unused[0], save_invstd=unused[1],
    )  # fmt: skip
    return z


def _layout(y: torch.Tensor) -> torch.memory_format:
    last = y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _permuted(x: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """(N, H, W, C) for channels last, else (N, C, H, W): the order in which the numbers of an image lie in memory."""
    return x.permute(0, 2, 3, 1) if layout == torch.channels_last else x


def _restored(x: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    return x.permute(0, 3, 1, 2) if layout == torch.channels_last else x


def _flat(x: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """(N, C · H · W), a view where x lies in memory as `layout` says."""
    return _permuted(x, layout).reshape(len(x), x.shape[1:].numel())
