"""Fingerprints of images, to find near-duplicates: perceptual hashes of several views, and a thumbnail.

A perceptual hash (64 bits, the signs of the low frequencies of the image at 32×32; Zauner 2010, the `ImageHash`
library) survives JPEG, contrast and size. It does not survive the edits that make "new" pictures from a stored scan:
cropping edges, shifting, mirroring. So it is computed of several views, each of which imitates one such edit:

    whole      the image as it is
    trimmed    without its black borders                                 ┐
    mirrored   trimmed, left and right exchanged                         │ the views, all of the
    inner …    trimmed, and 3, 6 or 10 % cropped all around              │ trimmed image
    corners …  trimmed, and one or two of its sides cropped by 6 or 8 %  ┘
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from imagehash import phash
from PIL import Image

from mammozoo.data.io.images import to_channels, to_uint8

#: View → (left, top, right, bottom) of the trimmed image, as shares of its sides; `mirrored` is the whole mirror image.
VIEWS: dict[str, tuple[float, float, float, float]] = {
    "trimmed": (0.0, 0.0, 1.0, 1.0),
    "mirrored": (0.0, 0.0, 1.0, 1.0),
    "inner 94 %": (0.03, 0.03, 0.97, 0.97),
    "inner 88 %": (0.06, 0.06, 0.94, 0.94),
    "inner 80 %": (0.10, 0.10, 0.90, 0.90),
    "upper left": (0.0, 0.0, 0.94, 0.94),
    "upper right": (0.06, 0.0, 1.0, 0.94),
    "lower left": (0.0, 0.06, 0.94, 1.0),
    "lower right": (0.06, 0.06, 1.0, 1.0),
    "without top": (0.0, 0.08, 1.0, 1.0),
    "without bottom": (0.0, 0.0, 1.0, 0.92),
    "without left": (0.08, 0.0, 1.0, 1.0),
    "without right": (0.0, 0.0, 0.92, 1.0),
}
SIDE = 48  # of a thumbnail, in pixels
_WORKING = 160  # side at which views are cropped; five times the side that the hash uses
_BLACK = 12  # grey value up to which a border pixel counts as black
_INK = 0.02  # share of brighter pixels that makes a row or a column part of the image


class Fingerprint(NamedTuple):
    """Of one image: hash of the whole, (V,) hashes of its views, (SIDE, SIDE) uint8 thumbnail of the trimmed image."""

    whole: int
    views: npt.NDArray[np.uint64]
    thumb: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of N images: (N,) and (N, V) uint64 hashes, (N, SIDE, SIDE) uint8 thumbnails."""

    whole: npt.NDArray[np.uint64]
    views: npt.NDArray[np.uint64]
    thumbs: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.whole)


def fingerprint(image: npt.NDArray[Any]) -> Fingerprint:
    """The fingerprint of an image (H, W) or (H, W, 3) as read."""
    grey = to_uint8(to_channels(image, 1))[..., 0]
    small = Image.fromarray(_trimmed(grey)).resize((_WORKING, _WORKING), Image.Resampling.BOX)
    hashes = [_hash(view(small, name)) for name in VIEWS]
    thumb = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BOX))
    return Fingerprint(_hash(Image.fromarray(grey)), np.array(hashes, np.uint64), thumb)


def collect(fingerprints: Sequence[Fingerprint]) -> Fingerprints:
    """Many fingerprints as arrays."""
    return Fingerprints(
        np.array([f.whole for f in fingerprints], np.uint64),
        np.array([f.views for f in fingerprints], np.uint64).reshape(-1, len(VIEWS)),
        np.array([f.thumb for f in fingerprints], np.uint8).reshape(-1, SIDE, SIDE),
    )


def view(trimmed: Image.Image, name: str) -> Image.Image:
    """The view `name` of a trimmed image of any size."""
    if name == "mirrored":
        return trimmed.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    left, top, right, bottom = VIEWS[name]
    width, height = trimmed.size
    box = (left * width, top * height, right * width, bottom * height)
    return trimmed.resize(trimmed.size, Image.Resampling.BILINEAR, box=box)


def _hash(image: Image.Image) -> int:
    return int(np.packbits(phash(image).hash.ravel()).view(">u8")[0])


def _trimmed(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Without black rows and columns at the edges; an image that is mostly black stays whole."""
    bright = grey > _BLACK
    rows = np.flatnonzero(bright.mean(axis=1) > _INK)
    columns = np.flatnonzero(bright.mean(axis=0) > _INK)
    if 2 * len(rows) < grey.shape[0] or 2 * len(columns) < grey.shape[1]:
        return grey
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
