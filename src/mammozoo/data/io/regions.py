"""Lesion boxes from masks, outlines and circles, and the crop around a lesion (the step `lesion`).

A box is (left, top, right, bottom) in pixels, right and bottom exclusive; outlines and circles are in (x, y), y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydantic import Field

from mammozoo.errors import UsageError

_FEW = 12  # levels of an image whose levels are labels; a JPEG with so few is of high quality, and its noise below an eighth

Box = tuple[int, int, int, int]
Point = tuple[float, float]

_LARGEST = 8192  # pixels a side of a square crop


def labelled(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """The pixels of a label image (H, W) that are not background, its darkest level: whatever label they have.

    A label is a level that fills a square of 3 × 3 pixels somewhere, which the noise that JPEG leaves around a lesion does not,
    or, in an image of few levels, one that is not much darker than the brightest. Halfway from the background to the lowest
    label is the limit; so an edge that was smoothed is in its middle.
    """
    levels = np.unique(values)
    if len(levels) < 2:
        return values > 0
    few, background = len(levels) <= _FEW, levels[0]
    from scipy import ndimage  # takes half a second, which commands without masks need not wait for

    flat = np.unique(values[ndimage.maximum_filter(values, 3) == ndimage.minimum_filter(values, 3)])
    if len(flat) > 1 and not (few and background == 0):
        background = flat[0]
    above = levels[levels > background + (levels[-1] - background) / 8] if few else levels[-1:]
    lowest = min(*flat[flat > background][:1], *above[:1], levels[-1], levels[-1])
    return values > background + (float(lowest) - float(background)) / 2


def box_of_mask(mask: npt.NDArray[np.bool_]) -> Box | None:
    """The smallest box around all of a mask (H, W); None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_of_outline(points: Sequence[Point]) -> Box:
    """The smallest box around the pixels of an outline's points (x, y); one point is a box of one pixel."""
    pixels = np.floor(np.asarray(points, dtype=np.float64)).astype(int)
    (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
    return int(left), int(top), int(right) + 1, int(bottom) + 1


def box_of_circle(x: float, y: float, radius: float) -> Box:
    """The box around the pixels within `radius` of the pixel (x, y); it may extend beyond the image."""
    return round(x - radius), round(y - radius), round(x + radius) + 1, round(y + radius) + 1


def join_boxes(boxes: Sequence[Box]) -> Box | None:
    """The smallest box around all of them; None for no boxes."""
    if not boxes:
        return None
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def draw_outlines(outlines: Sequence[Sequence[Point]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Closed outlines of (x, y), filled, border included, as a mask of `shape` (H, W); pixels beyond the image are dropped."""
    canvas = Image.new("L", (shape[1], shape[0]))
    pen = ImageDraw.Draw(canvas)
    for outline in outlines:
        if len(outline) > 2:
            pen.polygon([(x, y) for x, y in outline], fill=255, outline=255)
        else:
            pen.line([(x, y) for x, y in (*outline, outline[0])], fill=255)
    return np.asarray(canvas) > 0


def clip_box(box: Box, shape: tuple[int, int]) -> Box | None:
    """The part of a box inside an image of `shape` (H, W); None if no pixel is inside."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], shape[1]), min(box[3], shape[0])
    return (left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True)
class Region:
    """The crop that the step `lesion` takes from an image, given the box of the lesion.

    Args:
        margin: added on each side, as a share of the box's width (left, right) and height (above, below).
        pixels: added on each side, in pixels of the image as stored.
        square: extend the shorter side to the longer one, about the same centre.
        size: a square of this side in pixels about the centre of the box, whatever the lesion's size: small lesions keep
            their surroundings, large ones lose their border. 0 for the box itself.

    A margin that leaves the image is clipped. A square at the border is moved inwards, so that it is complete; if the
    image is smaller than the square, black is added.

    Raises:
        UsageError: a negative number, or `size` together with another option.
    """

    margin: Annotated[float, Field(ge=0, le=100)] = 0.0
    pixels: Annotated[int, Field(ge=0, le=10_000)] = 0
    square: bool = False
    size: Annotated[int, Field(ge=0, le=4096)] = 0

    def __post_init__(self) -> None:
        if not all(0 <= value <= _LARGEST for value in (self.margin, self.pixels, self.size)):
            raise UsageError(f"'lesion': margin, pixels and size cannot be negative or above {_LARGEST}.")
        if self.size and (self.margin or self.pixels or self.square):
            raise UsageError("'lesion': size is the side of the crop; it takes no margin, pixels or square with it.")

    def window(self, box: Box, shape: tuple[int, int]) -> Box:
        """The crop of an image of `shape` (H, W); it leaves the image only if the image is smaller than a square.

        Raises:
            UsageError: the box is empty, or not in the image.
        """
        if clip_box(box, shape) is None:
            outside = f"outside the image of {shape[1]} × {shape[0]} pixels"
            raise UsageError(f"The lesion's box {box} (left, top, right, bottom) is empty, or {outside}.")
        left, top, right, bottom = box
        across = round(self.margin * (right - left)) + self.pixels
        down = round(self.margin * (bottom - top)) + self.pixels
        left, top, right, bottom = left - across, top - down, right + across, bottom + down
        side = self.size or (max(right - left, bottom - top) if self.square else 0)
        if side > _LARGEST:
            raise UsageError(
                f"'lesion': the crop would have {side} pixels a side; the limit is {_LARGEST}. Take a smaller margin."
            )
        if not side:
            return max(left, 0), max(top, 0), min(right, shape[1]), min(bottom, shape[0])
        left, right = _centred(left, right, side, shape[1])
        top, bottom = _centred(top, bottom, side, shape[0])
        return left, top, right, bottom

    def crop(self, image: npt.NDArray[Any], box: Box) -> npt.NDArray[Any]:
        """The window of `image` (H, W) or (H, W, C), a copy of the same dtype; UsageError as for `window`."""
        height, width = image.shape[:2]
        left, top, right, bottom = self.window(box, (height, width))
        inside = image[max(top, 0) : bottom, max(left, 0) : right]
        missing = [(max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0))]
        return np.pad(inside, missing + [(0, 0)] * (image.ndim - 2))


@dataclass(frozen=True)
class Window:
    """The part of an image that a step of `preprocess` leaves, by the image's content: what lies on it moves along."""

    box: Box
    mirrored: bool = False

    def cut(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """That part of an image (H, W) or (H, W, C), a view."""
        left, top, right, bottom = self.box
        part = image[top:bottom, left:right]
        return part[:, ::-1] if self.mirrored else part

    def moved(self, box: Box) -> Box:
        """A box on the image, in pixels of the part; UsageError if it lies outside."""
        left, top, right, bottom = self.box
        inside = max(box[0], left) - left, max(box[1], top) - top, min(box[2], right) - left, min(box[3], bottom) - top
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise UsageError(f"The lesion's box {box} lies outside of the part {self.box} that `preprocess` leaves.")
        return (right - left - inside[2], inside[1], right - left - inside[0], inside[3]) if self.mirrored else inside


def _centred(start: int, end: int, side: int, limit: int) -> tuple[int, int]:
    """`side` pixels about the middle of start … end, moved into 0 … limit; about the image's middle if `side` exceeds it."""
    first = -((side - limit) // 2) if side >= limit else min(max((start + end - side) // 2, 0), limit - side)
    return first, first + side
