"""The arithmetic of a DRS layer: one pass over the activation forward and one backward, on every device.

With a = D_m · S_m and b = D_m · S_b + D_b, both (C, H, W), the two equations of a layer are one, z = a · y + b, and so

    ∂L/∂y = a · g            ∂L/∂S_m = Σ_k D_m · P              ∂L/∂S_b = Σ_k D_m · G        with g = ∂L/∂z,
    P = Σ_n g · y            ∂L/∂D_m = Σ_ij S_m · P + S_b · G   ∂L/∂D_b = Σ_ij G             G = Σ_n g

What touches the activation, z forward and a · g, P, G backward, has a path for each device:

    CPU                                              `scaling_cpu`: the batch norm kernels of torch
    CUDA in float32, bfloat16, float16               `scaling_triton`: two kernels of ours, where Triton works
    CUDA otherwise, MPS, XPU, ...; an empty batch    `scaling_plain`: the formula in elementwise operations
    `torch.compile`, exporters, `torch.jit.trace`    the formula under autograd, which they read and fuse

Each computes bfloat16 and float16 in float32 and rounds once.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Protocol

import torch
from torch.autograd.function import once_differentiable

from mammozoo_drs import scaling_cpu, scaling_plain

log = logging.getLogger(__name__)

_REDUCED = (torch.bfloat16, torch.float16)


class Arithmetic(Protocol):
    """The formula on matrices with a row for each image of the batch: y, g, z are (N, M), a, b, P, G are (M,), M = C · H · W.

    y and g have one dtype; a and b have it too, or float32 where it is bfloat16 or float16. All is contiguous but y and g.
    """

    def affine(self, y: torch.Tensor, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
        """Write z = a · y + b into `out`."""

    def gradients(
        self, g: torch.Tensor, y: torch.Tensor, a: torch.Tensor, of_y: bool
    ) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        """a · g in y's dtype (None unless `of_y`), and P and G in a's."""


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
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call]
    if traced or (y.dtype == exact and not torch.is_grad_enabled()):
        # The result lies in memory as b does.
        b = torch.addcmul(d_b, d_m, s_b).contiguous(memory_format=_layout(y))
        return torch.addcmul(b, d_m * s_m, y.to(exact)).to(y.dtype)
    return _Scale.apply(y, s_m, s_b, d_m, d_b)


def arithmetic(x: torch.Tensor) -> Arithmetic:
    """The path for an activation, or its gradient, on x's device and in its dtype."""
    if x.numel() == 0:
        return scaling_plain
    if x.device.type == "cpu":
        return scaling_cpu
    if x.device.type == "cuda" and (x.dtype == torch.float32 or x.dtype in _REDUCED) and _in_memory(x):
        return _on_card(x.device, x.dtype)
    return scaling_plain


@functools.cache
def _on_card(device: torch.device, dtype: torch.dtype) -> Arithmetic:
    """The Triton kernels where they compile, start and give the right numbers, else the plain formula."""
    try:
        from mammozoo_drs import scaling_triton

        scaling_triton.prove(device, dtype)
    except Exception as error:  # no Triton, no C compiler, an old card, a full disk: nothing here is worth a crash
        _say_once(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        return scaling_plain
    return scaling_triton


@functools.cache
def _say_once(reason: str) -> None:
    log.warning("DRS layers run without their Triton kernels, slower and with more memory (%s).", reason)


def _in_memory(x: torch.Tensor) -> bool:
    """Whether a kernel of ours may read x: no fake or other subclass, no wrapper of `torch.func`."""
    if type(x) not in (torch.Tensor, torch.nn.Parameter):
        return False
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    return True


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
        dy, p, sum_g = arithmetic(g).gradients(_flat(g, layout), _flat(y, layout), a.flatten(), ctx.needs_input_grad[0])
        p, sum_g = p.view_as(a), sum_g.view_as(a)
        grads = (
            (d_m * p).sum_to_size(s_m.shape),
            (d_m * sum_g).sum_to_size(s_m.shape),
            (s_m * p).addcmul_(s_b, sum_g).sum_to_size(d_m.shape),
            sum_g.sum_to_size(d_m.shape),
        )
        return (
            None if dy is None else _restored(dy.view(_permuted(y, layout).shape), layout),
            *(_restored(grad, layout) for grad in grads),
        )


def _affine(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """a · y + b; a and b are permuted. A new tensor and no view, since a ReLU may work in place on it."""
    z = torch.empty_like(y, memory_format=layout)
    arithmetic(y).affine(_flat(y, layout), a.flatten(), b.flatten(), _flat(z, layout))
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
