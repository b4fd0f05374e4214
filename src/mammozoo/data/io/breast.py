"""Mammograms: whether a film is shown inverted, and where the breast lies on it, by content alone.

Ground is what most of the film's edge shows: flat, and darker than the tissue, or brighter on an inverted film. A picture
without ground, such as a crop inside the breast, stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mammozoo.data.io.images import to_channels
from mammozoo.data.io.regions import Box

_SIDE = 256  # pixels of the longer side on which a film is judged
_FRAME = 0.12  # widest frame of a scan, as a share of the side
_FLAT, _ALONG = 0.1, 0.98  # grey levels and share of a line that is of one level
_RING = (0.01, 0.05)  # the film's edge, as shares of the side: the outermost line may be of the scanner
_NEAR = 0.06  # grey levels in [0, 1] that count as one
_LABEL, _LETTERS = 0.25, 10  # grey levels above the ground, and pixels, of a label
_GROUND = 0.25  # share of the edge that is ground, at least

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Film:
    """What a film shows.

    Attributes:
        inverted: whether the ground is brighter than the tissue.
        breast: (h, w) booleans, at most 256 a side, with a rim for the skin; None without ground.
        label: whether something bright lies on the ground, apart from the breast and its side of the film.
    """

    inverted: bool
    breast: npt.NDArray[np.bool_] | None
    label: bool = False

    def window(self, shape: tuple[int, int], margin: float = 0.0) -> Box | None:
        """The breast's box on the film of `shape`, with a share of its longer side around it; None without ground."""
        if self.breast is None:
            return None
        rows, columns = (np.flatnonzero(self.breast.any(axis)) for axis in (1, 0))
        down, across = (size / small for size, small in zip(shape, self.breast.shape, strict=True))
        box = np.array([columns[0] * across, rows[0] * down, (columns[-1] + 1) * across, (rows[-1] + 1) * down])
        box += np.array([-1, -1, 1, 1]) * margin * max(box[2] - box[0], box[3] - box[1])
        left, top = (max(0, int(end)) for end in box[:2])
        return left, top, min(shape[1], int(np.ceil(box[2]))), min(shape[0], int(np.ceil(box[3])))

    @property
    def on_right(self) -> bool:
        """Whether the chest wall, the longer side of the breast, is on the right."""
        if self.breast is None:
            return False
        columns = self.breast.sum(axis=0)
        columns = np.trim_zeros(columns)
        width = max(1, len(columns) // 6)
        return bool(columns[-width:].sum() > columns[:width].sum())


def look_at(pixels: npt.NDArray[Any]) -> Film:
    """The film in `pixels`, (H, W) or (H, W, C) of any depth."""
    grey = _reduced(pixels)
    inside = _without_frame(grey)
    film = _stretched(grey[inside], grey[inside])
    ground = _ground(film)
    if ground is None:
        return Film(False, None)
    tissue = film[np.abs(film - ground) > _NEAR]
    inverted = bool(tissue.size and np.median(tissue) < ground)
    light = 1 - film if inverted else film
    found = _breast(light, 1 - ground if inverted else ground)
    if found is None:
        return Film(inverted, None)
    whole = np.zeros(grey.shape, np.bool_)
    whole[inside] = found
    seen = Film(inverted, whole)
    level = 1 - ground if inverted else ground
    return replace(seen, label=_has_label((light > level + _LABEL) & ~found, seen.on_right))


def _reduced(pixels: npt.NDArray[Any]) -> Grey:
    import cv2

    grey = to_channels(pixels, 1)[..., 0] if pixels.ndim == 3 else pixels
    scale = min(1.0, _SIDE / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(grey), size, interpolation=cv2.INTER_AREA), np.float32)


def _stretched(grey: Grey, of: Grey) -> Grey:
    low, high = np.percentile(of, (2, 98))
    return np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)


def _without_frame(grey: Grey) -> tuple[slice, slice]:
    """The picture inside a frame: rows and columns at the edges that are of one level all along, up to a share of the side."""
    light = _stretched(grey, grey)
    slices = []
    for axis in (0, 1):
        lines = light if axis == 0 else light.T
        plain = (np.abs(lines - np.median(lines, axis=1, keepdims=True)) < _FLAT).mean(axis=1) > _ALONG
        most = round(_FRAME * len(plain))
        ends = [most if side.all() else int(np.argmin(side)) for side in (plain[:most], plain[::-1][:most])]
        ends = [end + 1 if end else 0 for end in ends]  # the next line is a mixture of both
        slices.append(slice(ends[0], len(plain) - ends[1]))
    return slices[0], slices[1]


def _ground(film: Grey) -> float | None:
    """The level in [0, 1] that the flat part of the film's edge has; None if there is no such level."""
    rough = ndimage.uniform_filter(film**2, 5) - ndimage.uniform_filter(film, 5) ** 2
    outer, inner = (max(1, round(share * max(film.shape))) for share in _RING)
    edge = np.zeros(film.shape, np.bool_)
    edge[outer:-outer, outer:-outer] = True
    edge[inner:-inner, inner:-inner] = False
    levels = film[edge & (rough < 0.03**2)]
    if not levels.size:
        return None
    counts, _ = np.histogram(levels, 50, (0, 1))
    level = float((np.argmax(ndimage.uniform_filter1d(counts.astype(float), 3, mode="constant")) + 0.5) / 50)
    ground = np.abs(levels - level) < _NEAR
    return float(np.median(levels[ground])) if ground.sum() > _GROUND * edge.sum() else None


def _breast(light: Grey, ground: float) -> npt.NDArray[np.bool_] | None:
    """The largest part that is brighter than the ground, with a rim; None if there is none."""
    low = light[light < ground + _NEAR]
    noise = float(np.median(np.abs(low - np.median(low)))) if low.size else 0.0
    bright = light > ground + max(0.05, 6 * noise)
    size = max(light.shape)
    opened = ndimage.binary_opening(bright, ndimage.generate_binary_structure(2, 1), iterations=max(1, size // 64))
    parts, count = ndimage.label(opened)
    if not count:
        return None
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    filled = ndimage.binary_fill_holes(largest)
    return np.asarray(ndimage.binary_dilation(filled, iterations=max(2, size // 50)), np.bool_)


def _has_label(bright: npt.NDArray[np.bool_], on_right: bool) -> bool:
    """Whether enough is bright that does not reach the side of the chest wall, where folds of the skin lie."""
    parts, _ = ndimage.label(bright, np.ones((3, 3)))
    folds = np.unique(parts[:, -2:] if on_right else parts[:, :2])
    return int((bright & ~np.isin(parts, folds)).sum()) >= _LETTERS
