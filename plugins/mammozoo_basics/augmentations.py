"""Random transforms: for an image by albumentations (2.0.8, its last MIT release) or OpenCV, for a batch on a card by torch.

Both forms draw from the same distribution; albumentations is imported when its first image comes, since that takes a second.
"""

from __future__ import annotations

import functools
import os
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch.nn import functional as F

from mammozoo import TransformSpec
from mammozoo.data.transforms import Batched, Transform
from mammozoo.errors import UsageError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version at import

Pixels = npt.NDArray[Any]
Rows = npt.NDArray[np.float64]
Share = Annotated[float, Field(ge=0, le=1)]  # a probability, or a part of a size or brightness
Factor = Annotated[float, Field(ge=0.01, le=100)]


class Augmentation:
    """A transform with its form for batches."""

    def __init__(self, apply: Transform, batched: Batched):
        self.apply, self.batched = apply, batched

    def __call__(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """One image."""
        return self.apply(pixels, rng)


def hflip(p: Share = 0.5) -> Transform:
    """Left and right exchanged with probability p."""
    return Augmentation(_albumentation("HorizontalFlip", p=p), _flip(3, p))


def vflip(p: Share = 0.5) -> Transform:
    """Up and down exchanged with probability p. In ultrasound depth points down: use it only where a paper did."""
    return Augmentation(_albumentation("VerticalFlip", p=p), _flip(2, p))


def affine(
    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0,
    shift: Share = 0.05,
    scale: Annotated[float, Field(ge=0, le=0.99)] = 0.1,
    shear: Annotated[float, Field(ge=0, le=80)] = 0.0,
    p: Share = 0.9,
) -> Transform:
    """Rotation in ±degrees, shift in ± a share of the size, scale in 1 ± scale, shear in ±degrees; edges are mirrored.

    The two shifts, scales and shears, across and down, are drawn apart.
    """

    def draw(rng: np.random.Generator, n: int) -> Rows:
        angle, shear_x, shear_y = np.deg2rad(rng.uniform(-1, 1, (3, n)) * [[degrees], [shear], [shear]])
        scales, shifts = rng.uniform(1 - scale, 1 + scale, (2, n)), rng.uniform(-shift, shift, (2, n))
        return _matrices(rng.random(n) < p, angle, (shear_x, shear_y), scales, shifts)

    one = _albumentation(
        "Affine",
        rotate=(-degrees, degrees),
        translate_percent=(-shift, shift),
        scale=(1 - scale, 1 + scale),
        shear=(-shear, shear),
        border_mode=4,  # cv2.BORDER_REFLECT_101
        p=p,
    )
    return Augmentation(one, Batched(draw, _warp))


def zoom(low: Factor = 1.0, high: Factor = 1.2, p: Share = 1.0) -> Transform:
    """Enlarged about the centre by one factor of [low, high], as large as before; below 1 the edges are mirrored."""
    check_range("zoom", low, high)

    def draw(rng: np.random.Generator, n: int) -> Rows:
        factor, none = rng.uniform(low, high, n), np.zeros(n)
        return _matrices(rng.random(n) < p, none, (none, none), (factor, factor), (none, none))

    one = _albumentation("Affine", scale=(low, high), keep_ratio=True, border_mode=4, p=p)
    return Augmentation(one, Batched(draw, _warp))


def brightness_contrast(brightness: Share = 0.15, contrast: Share = 0.15, p: Share = 0.8) -> Transform:
    """Brightness and contrast changed by up to the given shares, as a turn of the gain knob would."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        factor, summand = 1 + rng.uniform(-contrast, contrast, n), 255 * rng.uniform(-brightness, brightness, n)
        return np.where(rng.random((n, 1)) < p, np.stack([factor, summand], 1), [1.0, 0.0])

    one = _albumentation("RandomBrightnessContrast", brightness_limit=brightness, contrast_limit=contrast, p=p)
    return Augmentation(one, Batched(draw, _tone))


def brightness(low: Factor = 0.6, high: Factor = 1.2, p: Share = 0.8) -> Transform:
    """All pixels multiplied by one factor of [low, high]; what passes 255 becomes 255."""
    check_range("brightness", low, high)

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        chosen, factor = rng.random() < p, rng.uniform(low, high)
        return np.rint(np.clip(pixels * factor, 0, 255)).astype(np.uint8) if chosen else pixels

    def draw(rng: np.random.Generator, n: int) -> Rows:
        factor = np.where(rng.random(n) < p, rng.uniform(low, high, n), 1.0)
        return np.stack([factor, np.zeros(n)], 1)

    return Augmentation(apply, Batched(draw, _tone))


def equalize(p: Share = 1.0) -> Transform:
    """Histogram equalisation of each channel with probability p."""

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        import cv2

        if rng.random() >= p:
            return pixels
        return np.stack([cv2.equalizeHist(np.ascontiguousarray(one)) for one in np.moveaxis(pixels, 2, 0)], axis=2)

    return Augmentation(apply, Batched(functools.partial(_chosen, p), _equalize))


def _albumentation(name: str, **options: Any) -> Transform:
    """One of albumentations' transforms, drawing from our generator."""

    @functools.cache
    def made() -> Any:
        import albumentations

        return albumentations.Compose([getattr(albumentations, name)(**options)])

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        made().set_random_seed(int(rng.integers(2**31)))
        result: Pixels = made()(image=pixels)["image"]
        return result

    return apply


def _chosen(p: float, rng: np.random.Generator, n: int) -> Rows:
    return (rng.random((n, 1)) < p).astype(np.float64)


def _flip(axis: int, p: float) -> Batched:
    def apply(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.where(rows.view(-1, 1, 1, 1) > 0, images.flip(axis), images)

    return Batched(functools.partial(_chosen, p), apply)


def _matrices(chosen: npt.NDArray[np.bool_], angle: Rows, shear: tuple[Rows, Rows], scale: Any, shift: Any) -> Rows:
    """(n, 6) rows a b c d e f of the map from a pixel of the result to the pixel of the image that it shows.

    Positions are from the centre; a, b, d, e are numbers, c and f shares of the width and height. As in albumentations an
    image is scaled, rotated, sheared and shifted, in this order. Rows that are not chosen are the identity.
    """
    one, none = np.ones_like(angle), np.zeros_like(angle)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    sheared = np.array([[one, np.tan(shear[0])], [np.tan(shear[1]), one]]).transpose(2, 0, 1)
    scaled = np.array([[scale[0], none], [none, scale[1]]]).transpose(2, 0, 1)
    back = np.linalg.inv(sheared @ turned @ scaled)
    rows = np.concatenate([back, np.array(shift).T[:, :, None]], 2).reshape(-1, 6)
    return np.where(chosen[:, None], rows, [1, 0, 0, 0, 1, 0])


def _warp(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Bilinear, with mirrored edges."""
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    column = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    a, b, c, d, e, f = (part.view(-1, 1, 1) for part in rows.unbind(1))
    x = column - torch.trunc(c * width)  # albumentations shifts by whole pixels
    y = row[:, None] - torch.trunc(f * height)
    # grid_sample's positions go from -1 to 1, from the first pixel's centre to the last's.
    grid = torch.stack([(a * x + b * y) * (2 / max(width - 1, 1)), (d * x + e * y) * (2 / max(height - 1, 1))], 3)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def _tone(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    factor, summand = (part.view(-1, 1, 1, 1) for part in rows.unbind(1))
    return torch.addcmul(summand, factor, images).clamp_(0, 255)


def _equalize(images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """As cv2.equalizeHist: the darkest grey level that occurs becomes 0, and 255 is shared out by the pixels at or below."""
    levels = images.round().clamp(0, 255).to(torch.int64).flatten(2)
    counts = torch.zeros((*levels.shape[:2], 256), dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    first = counts.gather(2, (counts > 0).int().argmax(2, keepdim=True))
    others = (levels.shape[2] - first).clamp(min=1)
    table = ((counts.cumsum(2) - first).clamp(min=0) * (255 / others)).round()
    constant = first == levels.shape[2]
    equal = torch.where(constant, levels.to(images.dtype), table.to(images.dtype).gather(2, levels))
    return torch.where(rows.view(-1, 1, 1, 1) > 0, equal.view_as(images), images)


def check_range(name: str, low: float, high: float) -> None:
    """UsageError if `low` is above `high`."""
    if low > high:
        raise UsageError(f"{name}: low is at most high; got low={low:g}, high={high:g}.")


AUGMENTATIONS = [
    TransformSpec("hflip", "horizontal flip", hflip, random=True),
    TransformSpec("vflip", "vertical flip", vflip, random=True),
    TransformSpec("affine", "rotation, shift, scale, shear", affine, random=True),
    TransformSpec("zoom", "enlargement about the centre", zoom, random=True),
    TransformSpec("brightness-contrast", "brightness and contrast within limits", brightness_contrast, random=True),
    TransformSpec("brightness", "pixels multiplied by a factor", brightness, random=True),
    TransformSpec("equalize", "histogram equalisation", equalize, random=True),
]
