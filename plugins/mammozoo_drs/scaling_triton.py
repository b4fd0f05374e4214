"""The formula of `scaling` on CUDA, in two Triton kernels; imported on a card only.

What counts is memory traffic. Forward reads y and writes z; backward reads g and y once, writes a · g, and keeps P and G of
its positions in float32 registers on the way through the batch. Order and result of the sums are the same in every run.
A tile is 4 images by 256 positions whatever the shape, so nothing is tuned and each dtype is compiled once, or twice where M
isn't a multiple of 16. Addresses are 64-bit: a large batch of large activations has more than 2³¹ numbers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mammozoo_drs import scaling_plain

_IMAGES = 4
_POSITIONS = 256


def affine(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
    """As `scaling.Arithmetic`."""
    images, positions = y.shape
    tiles = triton.cdiv(images, _IMAGES) * triton.cdiv(positions, _POSITIONS)
    with torch.cuda.device_of(y):  # type: ignore[no-untyped-call]
        _affine[(tiles,)](y.contiguous(), a, b, out, images, positions, _IMAGES, _POSITIONS)


def gradients(
    g: torch.Tensor, y: torch.Tensor, a: torch.Tensor, of_y: bool
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """As `scaling.Arithmetic`."""
    images, positions = y.shape
    g, y = g.contiguous(), y.contiguous()
    dy = torch.empty_like(y) if of_y else None
    p, sum_g = torch.empty_like(a), torch.empty_like(a)
    with torch.cuda.device_of(y):  # type: ignore[no-untyped-call]
        _gradients[(triton.cdiv(positions, _POSITIONS),)](
            g, y, a, y if dy is None else dy, p, sum_g, images, positions, of_y, _IMAGES, _POSITIONS
        )
    return dy, p, sum_g


def prove(device: torch.device, dtype: torch.dtype) -> None:
    """Run both kernels on a few numbers.

    Raises:
        RuntimeError: they give wrong ones.
        Exception: whatever Triton raises where it cannot compile or start a kernel.
    """
    y = torch.linspace(-2, 2, 5 * 512, device=device).view(5, 512).to(dtype)
    g, a, b = y.flip(0), y[0].float() + 3, y[1].float()
    found, expected = torch.empty_like(y), torch.empty_like(y)
    affine(y, a, b, found)
    scaling_plain.affine(y, a, b, expected)
    ours, theirs = (found, *gradients(g, y, a, True)), (expected, *scaling_plain.gradients(g, y, a, True))
    both = [(x.float(), z.float()) for x, z in zip(ours, theirs, strict=True) if x is not None and z is not None]
    if not all(torch.allclose(x, z, rtol=0.01, atol=0.01) for x, z in both):
        raise RuntimeError(f"Triton {triton.__version__} gives wrong numbers on {device}")


@triton.jit(do_not_specialize=["images"])
def _affine(y, a, b, z, images, positions, IMAGES: tl.constexpr, POSITIONS: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program has one tile of z; the tiles of the same images follow each other."""
    across = tl.cdiv(positions, POSITIONS)
    column = (tl.program_id(0) % across).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    row = (tl.program_id(0) // across).to(tl.int64) * IMAGES + tl.arange(0, IMAGES)
    inside = column < positions
    here = (row < images)[:, None] & inside[None, :]
    at = row[:, None] * positions + column[None, :]
    factor = tl.load(a + column, mask=inside, other=0.0)[None, :]
    summand = tl.load(b + column, mask=inside, other=0.0)[None, :]
    numbers = tl.load(y + at, mask=here, other=0.0).to(tl.float32)
    tl.store(z + at, (factor * numbers + summand).to(z.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=["images"])
def _gradients(  # type: ignore[no-untyped-def]
    g, y, a, dy, p, sum_g, images, positions, OF_Y: tl.constexpr, IMAGES: tl.constexpr, POSITIONS: tl.constexpr
):
    """A program has 256 positions of all images."""
    column = tl.program_id(0).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    inside = column < positions
    factor = tl.load(a + column, mask=inside, other=0.0)[None, :]
    products = tl.zeros([IMAGES, POSITIONS], tl.float32)
    total = tl.zeros([IMAGES, POSITIONS], tl.float32)
    for first in range(0, images, IMAGES):
        row = first + tl.arange(0, IMAGES)
        here = (row < images)[:, None] & inside[None, :]
        at = row.to(tl.int64)[:, None] * positions + column[None, :]
        gradient = tl.load(g + at, mask=here, other=0.0).to(tl.float32)
        products += gradient * tl.load(y + at, mask=here, other=0.0).to(tl.float32)
        total += gradient
        if OF_Y:
            tl.store(dy + at, (factor * gradient).to(dy.dtype.element_ty), mask=here)
    tl.store(p + column, tl.sum(products, axis=0), mask=inside)
    tl.store(sum_g + column, tl.sum(total, axis=0), mask=inside)
