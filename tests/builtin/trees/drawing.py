"""Small pictures for fixture trees: no two alike, and the same from the same seed."""

import struct
import zlib
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
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def grey(path: Path, value: int = 9) -> Path:
    """A file of 20 × 18 pixels of one grey."""
    return save(path, np.full((18, 20), value, np.uint8))


def huge_png(path: Path, side: int) -> Path:
    """A PNG whose header promises side × side grey pixels in a file of a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))
    return path
