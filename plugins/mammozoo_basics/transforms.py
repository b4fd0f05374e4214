"""Transforms, nearly all of them albumentations' (2.0.8, its last MIT release); the only file that knows it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo import TransformSpec
from mammozoo.data.transform import Transform

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version at import


def _random(make: Any) -> Transform:
    """An albumentations transform, drawing from our generator; imported when first needed, for it takes a second."""

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


def clahe(clip: float = 2.0, tiles: int = 8) -> Transform:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994); not random."""
    import cv2

    equalize = cv2.createCLAHE(clipLimit=clip, tileGridSize=(tiles, tiles))

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        channels = [equalize.apply(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)]
        return np.stack(channels, axis=2)

    return apply


TRANSFORMS = [
    TransformSpec("hflip", "horizontal flip", hflip, random=True),
    TransformSpec("vflip", "vertical flip", vflip, random=True),
    TransformSpec("affine", "rotation, shift, scale, shear", affine, random=True),
    TransformSpec("brightness-contrast", "brightness and contrast within limits", brightness_contrast, random=True),
    TransformSpec("clahe", "contrast-limited adaptive histogram equalisation", clahe),
]
