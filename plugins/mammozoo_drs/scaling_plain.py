"""The formula of `scaling` in elementwise operations, which every device has.

In bfloat16 and float16 it makes float32 copies, which live for the one operation: exactness is worth them.
"""

from __future__ import annotations

import torch


def affine(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
    """As `scaling.Arithmetic`."""
    if y.dtype == a.dtype:
        torch.addcmul(b, a, y, out=out)
    else:
        out.copy_(torch.addcmul(b, a, y.to(a.dtype)))


def gradients(
    g: torch.Tensor, y: torch.Tensor, a: torch.Tensor, of_y: bool
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """As `scaling.Arithmetic`."""
    exact = g.to(a.dtype)
    return (a * exact).to(y.dtype) if of_y else None, (exact * y).sum(0), exact.sum(0)
