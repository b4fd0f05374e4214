"""Small pictures for fixture trees: no two alike, and the same from the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def picture(seed: int, width: int = 64, height: int = 48) -> npt.NDArray[np.uint8]:
    """Smooth random blobs as (height, width) uint8; different enough from those of other seeds to be no near-duplicates."""
    blobs = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 7), dtype=np.uint8))
    return np.asarray(blobs.resize((width, height), Image.Resampling.BICUBIC))


def spot(width: int = 64, height: int = 48, shift: int = 0) -> npt.NDArray[np.uint8]:
    """A mask with a filled rectangle of a third of each side, 255 on 0; `shift` moves it by pixels."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 3 : 2 * height // 3, width // 3 + shift : 2 * width // 3 + shift] = 255
    return mask


def save(path: Path, pixels: npt.NDArray[Any]) -> Path:
    """The picture in a file of the suffix's format; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
