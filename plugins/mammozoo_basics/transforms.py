"""Transforms by OpenCV and albumentations (2.0.8, its last MIT release)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo import TransformSpec
from mammozoo.data.io.images import to_uint8
from mammozoo.data.transforms import Transform
from mammozoo.errors import UsageError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version at import


def _random(make: Any) -> Transform:
    """An albumentations transform that draws from our generator. Its callers import albumentations late: that takes a second."""

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        make.set_random_seed(int(rng.integers(2**31)))
        result: npt.NDArray[Any] = make(image=pixels)["image"]
        return result

    return apply


def hflip(p: float = 0.5) -> Transform:
    """Left and right exchanged with probability p."""
    import albumentations

    return _random(albumentations.Compose([albumentations.HorizontalFlip(p=p)]))


def vflip(p: float = 0.5) -> Transform:
    """Up and down exchanged with probability p. In ultrasound depth points down: use it only where a paper did."""
    import albumentations

    return _random(albumentations.Compose([albumentations.VerticalFlip(p=p)]))


def affine(
    degrees: float = 10.0, shift: float = 0.05, scale: float = 0.1, shear: float = 0.0, p: float = 0.9
) -> Transform:
    """Rotation in ±degrees, shift in ± a share of the size, scale in 1 ± scale, shear in ±degrees; edges are mirrored."""
    import albumentations
    import cv2

    return _random(
        albumentations.Compose(
            [
                albumentations.Affine(
                    rotate=(-degrees, degrees),
                    translate_percent=(-shift, shift),
                    scale=(1 - scale, 1 + scale),
                    shear=(-shear, shear),
                    border_mode=cv2.BORDER_REFLECT_101,
                    p=p,
                )
            ]
        )
    )


def brightness_contrast(brightness: float = 0.15, contrast: float = 0.15, p: float = 0.8) -> Transform:
    """Brightness and contrast changed by up to the given shares, as a turn of the gain knob would."""
    import albumentations

    return _random(
        albumentations.Compose(
            [albumentations.RandomBrightnessContrast(brightness_limit=brightness, contrast_limit=contrast, p=p)]
        )
    )


def zoom(low: float = 1.0, high: float = 1.2, p: float = 1.0) -> Transform:
    """Enlarged about the centre by one factor of [low, high], as large as before; below 1 the edges are mirrored."""
    import albumentations
    import cv2

    _check_range("zoom", low, high)
    return _random(
        albumentations.Compose(
            [albumentations.Affine(scale=(low, high), keep_ratio=True, border_mode=cv2.BORDER_REFLECT_101, p=p)]
        )
    )


def brightness(low: float = 0.6, high: float = 1.2, p: float = 0.8) -> Transform:
    """All pixels multiplied by one factor of [low, high]; what passes 255 becomes 255."""
    _check_range("brightness", low, high)

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        chosen, factor = rng.random() < p, rng.uniform(low, high)
        return np.rint(np.clip(pixels * factor, 0, 255)).astype(np.uint8) if chosen else pixels

    return apply


def equalize(p: float = 1.0) -> Transform:
    """Histogram equalisation of each channel with probability p."""
    import cv2

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        return _by_channel(cv2.equalizeHist, pixels) if rng.random() < p else pixels

    return apply


def clahe(clip: float = 2.0, tiles: int = 8) -> Transform:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) in tiles × tiles regions; not random."""
    import cv2

    equalizer = cv2.createCLAHE(clipLimit=clip, tileGridSize=(tiles, tiles))

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        return _by_channel(equalizer.apply, pixels)

    return apply


def min_max() -> Transform:
    """The darkest pixel becomes 0, the brightest 255, whatever the depth; a constant image becomes 0. Not random."""

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        return to_uint8(pixels.astype(np.float32))

    return apply


def gcn(spread: float = 3.0) -> Transform:
    """Global contrast normalisation: minus the image's mean, over its standard deviation; not random.

    The result is kept in 8 bits: −spread to +spread standard deviations become 0 to 255, what lies beyond is cut off,
    and a constant image becomes 128. For a network whose inputs lie in [−1, 1] the image is then in units of `spread`
    standard deviations.
    """
    if spread <= 0:
        raise UsageError(f"gcn: spread is a number of standard deviations above 0, not {spread:g}.")

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        values = pixels.astype(np.float32)
        deviations = (values - values.mean()) / (values.std() or 1.0)
        return np.rint(np.clip(127.5 + 127.5 * deviations / spread, 0, 255)).astype(np.uint8)

    return apply


def resize(size: int) -> Transform:
    """`size` × `size` pixels; a side that grows is interpolated cubically, one that shrinks is averaged over areas."""
    import cv2

    _check_size("resize", size)

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        height, width = pixels.shape[:2]
        for before, shape in ((width, (size, height)), (height, (size, size))):  # OpenCV's order is (width, height)
            pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_CUBIC if size > before else cv2.INTER_AREA)
        return pixels if pixels.ndim == 3 else pixels[..., None]

    return apply


def centre_crop(size: int) -> Transform:
    """The `size` × `size` pixels in the middle; a side that has fewer stays as it is."""
    _check_size("centre-crop", size)

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        top, left = (max(0, (side - size) // 2) for side in pixels.shape[:2])
        return pixels[top : top + size, left : left + size]

    return apply


def denoise(strength: float = 3.0, patch: int = 7, window: int = 21) -> Transform:
    """Fast non-local means (Buades 2011): patches of `patch` pixels, compared within `window` pixels; not random.

    The defaults are OpenCV's. A greater strength removes more noise, and more of the image with it.
    """
    import cv2

    if patch % 2 == 0 or window % 2 == 0:
        raise UsageError(f"denoise: patch and window are odd numbers of pixels, not {patch} and {window}.")

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        return _by_channel(lambda channel: cv2.fastNlMeansDenoising(channel, None, strength, patch, window), pixels)

    return apply


def _by_channel(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.stack([change(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)], axis=2)


def _check_range(name: str, low: float, high: float) -> None:
    if not 0 < low <= high:
        raise UsageError(f"{name}: factors are above 0 and low is at most high; got low={low:g}, high={high:g}.")


def _check_size(name: str, size: int) -> None:
    if size < 1:
        raise UsageError(f"{name}: size is a number of pixels from 1 on, not {size}.")


TRANSFORMS = [
    TransformSpec("hflip", "horizontal flip", hflip, random=True),
    TransformSpec("vflip", "vertical flip", vflip, random=True),
    TransformSpec("affine", "rotation, shift, scale, shear", affine, random=True),
    TransformSpec("zoom", "enlargement about the centre", zoom, random=True),
    TransformSpec("brightness-contrast", "brightness and contrast within limits", brightness_contrast, random=True),
    TransformSpec("brightness", "pixels multiplied by a factor", brightness, random=True),
    TransformSpec("equalize", "histogram equalisation", equalize, random=True),
    TransformSpec("clahe", "contrast-limited adaptive histogram equalisation", clahe),
    TransformSpec("min-max", "darkest pixel to 0, brightest to 255", min_max),
    TransformSpec("gcn", "global contrast normalisation, kept in 8 bits", gcn),
    TransformSpec("resize", "to a square, cubic up and area down", resize),
    TransformSpec("centre-crop", "the middle", centre_crop),
    TransformSpec("denoise", "fast non-local means", denoise),
]
