"""Random transforms: what another scanner, another setting of it and the person who measures do to a picture.

All but `calipers` have a form for batches on a card too, which draws from the same distribution.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from mammozoo import TransformSpec
from mammozoo.data.transforms import Batched, Transform
from mammozoo_basics.augmentations import Augmentation, Pixels, Rows, Share, check_range

Exponent = Annotated[float, Field(ge=0.1, le=10)]
Deviation = Annotated[float, Field(ge=0, le=50)]  # in pixels


def gamma(low: Exponent = 0.7, high: Exponent = 1.5, p: Share = 0.5) -> Transform:
    """Grey levels v become 255 (v / 255)^g for one g of [low, high], as another curve from echo to grey would make them."""
    check_range("gamma", low, high)

    def draw(rng: np.random.Generator, n: int) -> Rows:
        return np.where(rng.random((n, 1)) < p, np.exp(rng.uniform(np.log(low), np.log(high), (n, 1))), 1.0)

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        levels = 255 * (np.arange(256) / 255) ** draw(rng, 1)[0, 0]
        curved: Pixels = np.rint(levels).astype(np.uint8)[pixels]
        return curved

    def together(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return 255 * (images / 255) ** rows.view(-1, 1, 1, 1)

    return Augmentation(apply, Batched(draw, together))


def blur(most: Deviation = 1.5, p: Share = 0.5) -> Transform:
    """Gaussian blur whose standard deviation, across and down apart, is up to `most` pixels; edges are mirrored."""
    import cv2

    def draw(rng: np.random.Generator, n: int) -> Rows:
        return np.where(rng.random((n, 1)) < p, rng.uniform(0, most, (n, 2)), 0.0)

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        across, down = np.maximum(draw(rng, 1)[0], 1e-3)
        return cv2.GaussianBlur(pixels, (0, 0), across, sigmaY=down).reshape(pixels.shape)

    return Augmentation(apply, Batched(draw, lambda images, rows: _blurred(images, rows, most)))


def grain(strength: Share = 0.2, size: Deviation = 1.0, p: Share = 0.5) -> Transform:
    """Each pixel times 1 + n: n is normal, smooth over `size` pixels, with a standard deviation of up to `strength`."""
    import cv2

    def draw(rng: np.random.Generator, n: int) -> Rows:  # the deviation, and the seed of the noise
        deviations = np.where(rng.random(n) < p, rng.uniform(0, strength, n), 0.0)
        return np.stack([deviations, rng.integers(2**20, size=n)], 1)

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        deviation, seed = draw(rng, 1)[0]
        if not deviation:
            return pixels
        white = np.random.default_rng(int(seed)).standard_normal(pixels.shape[:2], np.float32)
        noise = cv2.GaussianBlur(white, (0, 0), max(size, 1e-3))
        factor = 1 + deviation / max(float(noise.std()), 1e-6) * noise[..., None]
        return np.rint(np.clip(pixels * factor, 0, 255)).astype(np.uint8)

    def together(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        deviation, seed = rows.unbind(1)
        noise = _blurred(_normal(seed, *images.shape[2:]), torch.full_like(rows, size), size)
        noise = noise * (deviation / noise.std((1, 2, 3)).clamp(min=1e-6)).view(-1, 1, 1, 1)
        return (images * (1 + noise)).clamp(0, 255)

    return Augmentation(apply, Batched(draw, together))


def calipers(most: Annotated[int, Field(ge=1, le=20)] = 2, p: Share = 0.3) -> Transform:
    """One to `most` pairs of bright measuring marks anywhere, half of the pairs joined by a dotted line."""
    import cv2

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        if rng.random() >= p:
            return pixels
        marked, (height, width) = np.ascontiguousarray(pixels).copy(), pixels.shape[:2]
        for _ in range(rng.integers(1, most + 1)):
            ends = np.rint(rng.random((2, 2)) * [width - 1, height - 1]).astype(int)
            kind = [cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS][rng.integers(2)]
            size, level = max(3, round(min(height, width) * rng.uniform(0.02, 0.05))), int(rng.integers(180, 256))
            light = (level,) * pixels.shape[2]
            for x, y in ends.tolist():
                cv2.drawMarker(marked, (x, y), light, kind, size)
            if rng.random() < 0.5:
                count = max(2, int(np.abs(ends[1] - ends[0]).max()) // 4)
                dots = np.rint(np.linspace(ends[0], ends[1], count)).astype(int)
                marked[dots[:, 1], dots[:, 0]] = level
        return marked

    return apply


def _blurred(images: torch.Tensor, rows: torch.Tensor, most: float) -> torch.Tensor:
    """(N, C, H, W) images under Gaussians whose standard deviations, across and down, are (N, 2) rows of at most `most` pixels."""
    n, channels, height, width = images.shape
    for axis, (side, deviations) in enumerate(zip((width, height), rows.unbind(1), strict=True)):
        radius = min(math.ceil(3 * most), side - 1)
        places = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
        weights = torch.exp(-0.5 * (places / deviations.clamp(min=1e-3)[:, None]) ** 2)
        weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, None]
        padding = (radius, radius, 0, 0) if axis == 0 else (0, 0, radius, radius)
        flat = F.pad(images, padding, mode="reflect").flatten(0, 1)[None]
        images = F.conv2d(flat, weights if axis == 0 else weights.mT, groups=n * channels).view(
            n, channels, height, width
        )
    return images


def _normal(seeds: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(N, 1, H, W) standard normal numbers that depend on the (N,) seeds alone, by a hash of 32 bits and Box and Muller's map."""
    places = torch.arange(height * width, device=seeds.device)
    bits = (places + seeds.to(torch.int64)[:, None] * 0x9E3779B1) & 0xFFFFFFFF
    for factor in (0x7FEB352D, 0x846CA68B):  # C. Wellons, "lowbias32"
        bits = ((bits ^ (bits >> 16)) * factor) & 0xFFFFFFFF
    bits ^= bits >> 15
    low, high = ((part.to(seeds.dtype) + 0.5) / 65536 for part in (bits & 0xFFFF, bits >> 16))
    return (torch.sqrt(-2 * torch.log(low)) * torch.cos(2 * math.pi * high)).view(-1, 1, height, width)


SCANNER = [
    TransformSpec("gamma", "another curve of grey levels", gamma, random=True),
    TransformSpec("blur", "Gaussian blur", blur, random=True),
    TransformSpec("grain", "multiplicative noise, as speckle is", grain, random=True),
    TransformSpec("calipers", "measuring marks drawn into the image", calipers, random=True),
]
