"""DICOM files: pixels as the file asks to be displayed, and single values of the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.io.quiet import quiet

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})


def is_dicom(path: Path, head: bytes) -> bool:
    """Whether a file is DICOM, by its first 132 bytes or its suffix (old files have no preamble)."""
    return head[128:] == b"DICM" or path.suffix.lower() in DICOM_SUFFIXES


def read_header(path: Path, *keywords: str) -> Any:
    """The `pydicom.Dataset` of a file with these elements (PS3.6 keywords) alone; None if the file is not readable DICOM."""
    try:
        with path.open("rb") as handle:
            if not is_dicom(path, handle.read(132)):
                return None
            import pydicom  # here, because most users have no DICOM files

            handle.seek(0)
            with quiet():  # pydicom warns about each value that breaks the standard
                return pydicom.dcmread(handle, force=True, stop_before_pixels=True, specific_tags=list(keywords))
    except Exception:  # a damaged header has no values; `read_image` gives the reason
        return None


def header_value(path: Path, keyword: str) -> str | None:
    """One text of a DICOM header in capitals; None for other formats, damaged files, or an empty value."""
    header = read_header(path, keyword)
    return None if header is None else str(header.get(keyword) or "").strip().upper() or None


def read_modality(path: Path) -> str | None:
    """The modality that a DICOM file states ("US", "MG" …), without reading pixels; None for other formats or on failure."""
    return header_value(path, "Modality")


def is_for_processing(path: Path) -> bool:
    """Whether a DICOM file states that its pixels are raw detector values, not for viewing ("FOR PROCESSING")."""
    return header_value(path, "PresentationIntentType") == "FOR PROCESSING"


def lacks_decoder(dataset: Any) -> str | None:
    """The name of the compression of a file whose pixels need a plug-in of pydicom that is not installed; None otherwise."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # the standard's default
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        return None if get_decoder(syntax).is_available else str(syntax.name)
    except NotImplementedError:
        return str(syntax.name)


def displayed_pixels(dataset: Any) -> npt.NDArray[Any]:
    """(H, W) grey in `BitsStored` bits or (H, W, 3) RGB, uint8 or uint16, as the file asks (PS3.3 C.7.6.3, C.11.1, C.11.2)."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    pixels = pixel_array(dataset)  # YBR becomes RGB
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 3:
        return pixels
    low, high = int(pixels.min()), int(pixels.max())
    if high - low > np.iinfo(np.uint16).max:
        return _displayed(pixels, dataset)
    # The displayed value depends on the stored value alone, and there are far fewer values than pixels.
    table = _displayed(np.arange(low, high + 1).astype(pixels.dtype), dataset)
    return table[pixels.astype(np.int32) - low]


def _displayed(stored: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """Stored values of any shape → grey levels in `BitsStored` bits."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(np.float64)
    low, high = _display_range(dataset)
    unit = np.clip((values - low) / (high - low), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":  # white is the smallest value
        unit = 1 - unit
    first = dataset.get("PixelPaddingValue")
    if isinstance(first, int):  # values from it to `PixelPaddingRangeLimit` lie outside the image (PS3.3 C.7.5.1.1.2)
        last = dataset.get("PixelPaddingRangeLimit", first)
        unit[(stored >= min(first, last)) & (stored <= max(first, last))] = 0
    dtype: type[np.uint8] | type[np.uint16] = np.uint8 if dataset.BitsStored <= 8 else np.uint16
    return np.rint(unit * (2 ** int(dataset.BitsStored) - 1)).astype(dtype)


def _display_range(dataset: Any) -> tuple[float, float]:
    """The values of black and white after the tables: the range of the file's encoding, not of one image's content."""
    if tables := dataset.get("VOILUTSequence") or dataset.get("ModalityLUTSequence"):
        return 0.0, float(2 ** int(tables[0].LUTDescriptor[2]) - 1)
    bits = int(dataset.BitsStored)
    stored = np.array([0, 2**bits - 1]) - (2 ** (bits - 1) if dataset.PixelRepresentation else 0)
    ends = stored * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    return float(ends.min()), float(ends.max())
