"""Steps of `preprocess` for mammograms: polarity and the crop of the breast, both by content. Neither is random."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mammozoo import TransformSpec
from mammozoo.data.io.breast import look_at
from mammozoo.data.io.limits import in_strips
from mammozoo.data.io.regions import Window
from mammozoo.data.transforms import Transform

Pixels = npt.NDArray[Any]
_ENDS = (0.1, 99.9)  # percentiles of the breast that become black and white, of an image deeper than 8 bits


class _Polarity:
    deep = True

    def __call__(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        return _negative(pixels) if look_at(pixels).inverted else pixels


class _Breast:
    deep = True

    def __init__(self, margin: float, flip: str) -> None:
        self.margin, self.flip = margin, flip

    def sight(self, pixels: Pixels) -> Window:
        """The part of an image that it leaves."""
        film = look_at(pixels)
        box = film.window(pixels.shape[:2], self.margin)
        if box is None:
            return Window((0, 0, pixels.shape[1], pixels.shape[0]))
        return Window(box, self.flip != "none" and film.on_right != (self.flip == "right"))

    def __call__(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        import cv2

        film, window = look_at(pixels), self.sight(pixels)
        shown = window.cut(_negative(pixels) if film.inverted else pixels)
        if film.breast is None:
            return _contrast(shown, shown)
        full = cv2.resize(film.breast.astype(np.uint8) * 255, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        rim = window.cut(full) > 127
        few = slice(None, None, max(1, min(rim.shape) // 512))
        return np.where(rim[..., None], _contrast(shown, shown[few, few][rim[few, few]]), np.uint8(0))


def _negative(pixels: Pixels) -> Pixels:
    low, high = (0, 255) if pixels.dtype == np.uint8 else (pixels.min(), pixels.max())
    return (high - pixels + low).astype(pixels.dtype)


def _contrast(pixels: Pixels, of: Pixels) -> Pixels:
    """8 bits as they are, deeper pixels between percentiles of some of them."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    low, high = np.percentile(of, _ENDS)
    scale = np.float32(255 / max(high - low, 1e-6))
    return in_strips(lambda part: np.rint(np.clip((part - np.float32(low)) * scale, 0, 255)).astype(np.uint8), pixels)


def polarity() -> Transform:
    """A mammogram with a dark breast on bright ground becomes a bright one on dark ground; any other image stays. Not random."""
    return _Polarity()


def breast(
    margin: Annotated[float, Field(ge=0, le=1)] = 0.01, flip: Literal["none", "left", "right"] = "none"
) -> Transform:
    """The breast on a mammogram, bright on black: labels and ground become black, and what lies around is cut off; not random.

    An image without ground is taken for a crop and stays whole. An image deeper than 8 bits is stretched from the 0.1 to the
    99.9 percentile of the breast.

    Args:
        margin: share of the longer side that stays around the breast.
        flip: the side on which the chest wall lies afterwards; an image of the other side is mirrored.
    """
    return _Breast(margin, flip)


FILMS = [
    TransformSpec("polarity", "mammograms: dark breast on bright ground is inverted, by content", polarity),
    TransformSpec("breast", "mammograms: the breast alone, bright on black, cropped", breast),
]
