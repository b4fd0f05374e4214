"""Frames of a DICOM file: `FILE#frame` is one of several, counted from 1.

A file without a frame behind it stands for its RepresentativeFrameNumber (PS3.3 C.7.6.6), or for the middle one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mammozoo.data.io.limits import UnreadableImageError


def split_frame(path: Path) -> tuple[Path, int | None]:
    """The file of `FILE#frame`, and the frame; a path that exists as it is has none."""
    match = None if os.path.lexists(path) else re.fullmatch(r"(.+)#(\d{1,9})", path.name)
    return (path, None) if match is None else (path.with_name(match[1]), int(match[2]))


def frame_of_header(header: Any) -> tuple[int, int]:
    """As `frames_of`, of a header; None has one. TypeError or ValueError if it states no number."""
    count = 1 if header is None else int(header.get("NumberOfFrames") or 1)
    stated = 0 if header is None else int(header.get("RepresentativeFrameNumber") or 0)
    return count, stated if 1 <= stated <= count else count // 2 + 1


def keep_frame(dataset: Any, count: int, frame: int, name: str) -> None:
    """Leave one frame, counted from 1, in a data set of several."""
    from pydicom.encaps import encapsulate, get_frame

    if not 1 <= frame <= count:
        raise UnreadableImageError(f"{name} has {count} frames; there is no frame {frame}.")
    if "TransferSyntaxUID" in dataset.file_meta and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
        pixels = get_frame(
            dataset.PixelData, frame - 1, number_of_frames=count, extended_offsets=offsets if all(offsets) else None
        )
        dataset.PixelData = encapsulate([pixels])
    else:
        bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated
        size, rest = divmod(bits * 2 // 3 if dataset.PhotometricInterpretation == "YBR_FULL_422" else bits, 8)
        if len(dataset.PixelData) < count * size or rest:
            whole = f"{count} frames of {size} bytes, and holds {len(dataset.PixelData)}"
            raise UnreadableImageError(
                f"{name} states {whole}: it is truncated or damaged. Copy it again from its source."
            )
        dataset.PixelData = dataset.PixelData[(frame - 1) * size : frame * size]
    dataset.NumberOfFrames = 1
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dataset.pop(keyword, None)
