"""What an image may be, how it is refused, and how a large one is worked on with little memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.io.several import take_turn
from mammozoo.errors import MammozooError

#: Largest image, in pixels. Compared with the header, before memory is allocated.
MAX_PIXELS = 100_000_000
#: Shortest side, in pixels. Anything smaller is an icon or has a damaged header.
MIN_SIDE = 16
#: Pixels from which on `read_many` reads an image while it reads no other large one.
LARGE = 30_000_000
_STRIP = 2**22  # values of an array that are worked on at once


class UnreadableImageError(MammozooError):
    """The file exists, but it does not hold an image that can be read."""


def check_size(name: str, width: int, height: int, frames: int = 1) -> None:
    """Raise UnreadableImageError for a size that mammozoo does not read, or for several frames."""
    size = f"{name} has {width} x {height} pixels"
    if width * height > MAX_PIXELS:
        limit = f"mammozoo reads up to {MAX_PIXELS // 10**6} million"
        raise UnreadableImageError(f"{size}; {limit}. Crop or shrink it first.")
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(f"{size}; an image needs at least {MIN_SIDE} on each side.")
    if frames > 1:
        advice = "mammozoo reads single images. Export the frame you mean as PNG."
        raise UnreadableImageError(f"{name} holds {frames} frames; {advice}")
    if width * height > LARGE:
        take_turn()


def check_bytes(name: str, size: int, most: int) -> None:
    """Raise UnreadableImageError for a file that is larger than any picture that mammozoo reads: it is read whole."""
    if size > most:
        raise UnreadableImageError(f"{name} has {size // 10**6} MB, more than one picture that mammozoo reads takes.")


def in_strips(change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`change(array)` of an array (H, W, …), some rows at a time; `change` works on each pixel for itself."""
    rows = max(1, _STRIP // max(1, array[:1].size))
    if rows >= len(array):
        return change(array)
    first = change(array[:rows])
    result = np.empty((len(array), *first.shape[1:]), first.dtype)
    result[:rows] = first
    for start in range(rows, len(array), rows):
        result[start : start + rows] = change(array[start : start + rows])
    return result


def unpacked_size(packed: bytes, most: int, window: int = zlib.MAX_WBITS) -> int:
    """Bytes that a deflated stream unpacks to, or any number above `most`; zlib.error if it is damaged or cut off."""
    size, inflate = 0, zlib.decompressobj(window)
    while size <= most and not inflate.eof:
        before = len(packed)
        size += len(part := inflate.decompress(packed, 2**20))
        packed = inflate.unconsumed_tail
        if not part and len(packed) == before:
            raise zlib.error("the stream is cut off")
    return size
