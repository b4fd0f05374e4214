"""Steps of `preprocess`, by OpenCV. None of them is random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo import TransformSpec
from mammozoo.data.io.images import to_uint8
from mammozoo.data.transforms import Transform
from mammozoo.errors import UsageError

_LARGEST = 8192  # pixels a side
_MOST_TILES, _WIDEST = 256, 99


def clahe(clip: float = 2.0, tiles: int = 8) -> Transform:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) in tiles × tiles regions; not random."""
    import cv2

    _check_range("clahe: tiles is a number", tiles, _MOST_TILES)
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

    for option, value in (("patch", patch), ("window", window)):
        _check_range(f"denoise: {option} is a number of pixels", value, _WIDEST)
    if patch % 2 == 0 or window % 2 == 0:
        raise UsageError(f"denoise: patch and window are odd numbers of pixels, not {patch} and {window}.")

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        return _by_channel(lambda channel: cv2.fastNlMeansDenoising(channel, None, strength, patch, window), pixels)

    return apply


def _by_channel(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.stack([change(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)], axis=2)


def _check_size(name: str, size: int) -> None:
    _check_range(f"{name}: size is a number of pixels", size, _LARGEST)


def _check_range(what: str, value: int, most: int) -> None:
    """Models from elsewhere bring their steps: no option may ask for all memory, or for hours."""
    if not 1 <= value <= most:
        raise UsageError(f"{what} from 1 to {most}, not {value}.")


TRANSFORMS = [
    TransformSpec("clahe", "contrast-limited adaptive histogram equalisation", clahe),
    TransformSpec("min-max", "darkest pixel to 0, brightest to 255", min_max),
    TransformSpec("gcn", "global contrast normalisation, kept in 8 bits", gcn),
    TransformSpec("resize", "to a square, cubic up and area down", resize),
    TransformSpec("centre-crop", "the middle", centre_crop),
    TransformSpec("denoise", "fast non-local means", denoise),
]
