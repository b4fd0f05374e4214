"""What an image is a picture of, by its content: ultrasound, mammography, or something else.

36 statistics that have names (`NAMES`) describe brightness, ground, border, texture at four scales and symmetry. A
multinomial logistic regression on them and their squares, `modality.json`, knows kinds of pictures, such as a mammogram, one
inverted, a part of one, a photograph; the kinds of a modality are summed. `benchmarks/modality.py` fits and measures it.
"""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mammozoo.data.io.images import to_channels

#: The statistics, in order; logarithms have base 2, shares are square roots.
NAMES = (
    "width to height", "mean", "spread", *(f"quantile {q}" for q in (5, 25, 50, 75, 95)), "dark share", "bright share",
    "most frequent grey", "entropy", "flat share", "ground share", "ground grey", "border minus centre", "darkest side",
    "brightest side", "left against right", "top minus bottom", *(f"band {k}" for k in range(4)),
    *(f"tails of band {k}" for k in range(3)), *(f"skew of band {k}" for k in range(2)),
    *(f"down against across {k}" for k in range(3)), "local spread with brightness", "mirrored across", "mirrored down", "colour",
)  # fmt: skip
#: Modalities that are told by content, each with the probability from which on an image may be of it.
LEAST = {"ultrasound": 0.3, "mammography": 0.02}
#: Pixels of the longer side, below which an image has too little texture to tell what it is.
SMALLEST = 128
_SIDE = 192  # of the longer side that the statistics are taken at, in pixels
_MOST = 3.5  # standard deviations, beyond which a statistic counts as that

Floats = npt.NDArray[np.float32]


def statistics(image: npt.NDArray[Any]) -> Floats:
    """(36,) statistics (`NAMES`) of an image as read: (H, W) or (H, W, 3), any depth. Rows and columns of one grey at the
    border, as of a letterbox, are left out."""
    small = _small(image)
    colour = float((np.ptp(small, axis=2) > 16 / 255).mean()) if small.ndim == 3 else 0.0
    grey = _trimmed(to_channels(small, 1)[..., 0] if small.ndim == 3 else small)
    height, width = grey.shape
    levels = np.bincount(np.minimum(grey * 64, 63).astype(np.intp).ravel(), minlength=64) / grey.size
    blurred = [grey, *(ndimage.gaussian_filter(grey, sigma) for sigma in (1, 2, 4, 8))]
    steps = np.hypot(*np.gradient(grey))
    flat = steps < 1.5 / 255
    parts, _ = ndimage.label(flat)
    rim = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    ground = np.zeros(grey.shape, bool)
    if rim.any():
        sizes = np.bincount(parts.ravel())
        ground = parts == max(set(rim[rim > 0].tolist()), key=lambda part: int(sizes[part]))
    tissue = ~ground if (~ground).mean() > 0.02 else np.ones(grey.shape, bool)
    bands = [(fine - coarse)[tissue] for fine, coarse in itertools.pairwise(blurred)]
    spreads = [max(float(band.std()), 1e-4) for band in bands]
    h, w = max(1, height // 8), max(1, width // 8)
    sides = [grey[:h].mean(), grey[-h:].mean(), grey[:, :w].mean(), grey[:, -w:].mean()]
    inner = grey[height // 4 : height - height // 4, width // 4 : width - width // 4].mean()
    local = np.sqrt(np.maximum(ndimage.uniform_filter(grey**2, 5) - ndimage.uniform_filter(grey, 5) ** 2, 0))
    found = [
        np.log2(width / height), grey.mean(), grey.std(), *np.quantile(grey, (0.05, 0.25, 0.5, 0.75, 0.95)),
        np.sqrt((grey < 0.04).mean()), np.sqrt((grey > 0.96).mean()), np.sqrt(levels.max()),
        -(levels * np.log2(levels + 1e-9)).sum(), np.sqrt(flat.mean()), np.sqrt(ground.mean()),
        grey[ground].mean() if ground.any() else 0.5, np.mean(sides) - inner, min(sides), max(sides),
        abs(sides[2] - sides[3]), sides[0] - sides[1], *np.log2(spreads),
        *(np.log2(np.mean((band / spread) ** 4) + 1e-3) for band, spread in zip(bands[:3], spreads, strict=False)),
        *(np.clip(np.mean((band / spread) ** 3), -5, 5) for band, spread in zip(bands[:2], spreads, strict=False)),
        *(np.log2((np.abs(np.diff(b, axis=0)).mean() + 1e-4) / (np.abs(np.diff(b, axis=1)).mean() + 1e-4)) for b in blurred[:4:2]),
        np.log2((np.abs(np.diff(blurred[3], axis=0)).mean() + 1e-4) / (np.abs(np.diff(blurred[3], axis=1)).mean() + 1e-4)),
        _correlation(blurred[2][tissue], local[tissue]), _correlation(blurred[3], blurred[3][:, ::-1]),
        _correlation(blurred[3], blurred[3][::-1]), np.sqrt(colour),
    ]  # fmt: skip
    return np.array(found, np.float32)


def _small(image: npt.NDArray[Any]) -> Floats:
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image.astype(np.float32) - low) * (255 / (high - low or 1))).astype(np.uint8)
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = Image.fromarray(image).resize(size, Image.Resampling.BOX, reducing_gap=2)
    return np.asarray(small, np.float32) / np.float32(255)


def _trimmed(grey: Floats) -> Floats:
    """Without the rows and columns at the border that have one grey; at least 8 of each stay."""
    rows, columns = (np.flatnonzero(np.ptp(grey, axis=axis) > 3 / 255) for axis in (1, 0))
    if len(rows) < 8 or len(columns) < 8:
        return grey
    kept = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return kept if min(kept.shape) >= 8 else grey


def _correlation(one: Floats, other: Floats) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).mean() / (one.std() * other.std() + 1e-6))


def other_kind(image: npt.NDArray[Any], modality: str) -> str | None:
    """In words, what an image as read is by its content, if that is not of the modality; None if it may be.

    Modalities that are not in `LEAST` are not told by content, nor are images whose longer side is below 128 pixels.
    """
    if modality not in LEAST or max(image.shape[:2]) < SMALLEST:
        return None
    if share(found := statistics(image), modality) >= LEAST[modality]:
        return None
    likely = max(((p, kind) for kind, p in shares(found).items() if not kind.startswith(modality)))[1]
    return f"most like: {likely.replace(':', ', ')}"


def share(found: Floats, modality: str) -> float:
    """The probability that an image with these statistics is of the modality."""
    return sum(p for kind, p in shares(found).items() if kind.startswith(modality))


def shares(found: Floats) -> dict[str, float]:
    """Kind of picture → probability, by (36,) statistics; the kinds of a modality begin with its name."""
    kinds, mean, scale, weights = _fitted()
    logits = design(found[None], mean, scale)[0] @ weights.T
    p = np.exp(logits - logits.max())
    return dict(zip(kinds, (p / p.sum()).tolist(), strict=True))


def design(found: Floats, mean: Floats, scale: Floats) -> Floats:
    """(N, 36) statistics → (N, 73): standardised and bounded, squared, and one."""
    z = np.clip((found - mean) / scale, -_MOST, _MOST)
    return np.hstack([z, z**2, np.ones((len(z), 1), np.float32)])


@cache
def _fitted() -> tuple[tuple[str, ...], Floats, Floats, Floats]:
    """Kinds, mean and scale of the statistics, (kinds, 73) weights."""
    content = json.loads(Path(__file__).with_name("modality.json").read_text(encoding="utf-8"))
    mean, scale, weights = (np.array(content[key], np.float32) for key in ("mean", "scale", "weights"))
    return tuple(content["kinds"]), mean, scale, weights
