"""Stored numbers of a DICOM picture → what a viewer shows: bits, padding, modality and VOI tables, windows, palettes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.io.limits import UnreadableImageError, in_strips

Numbers = npt.NDArray[Any]


def _numbers(dataset: Any, keyword: str) -> list[float]:
    """The numbers of an element; none if it is absent or empty. UnreadableImageError if they are not finite numbers."""
    try:
        value = dataset.get(keyword)
        values = [] if value is None or not str(value).strip() else [float(one) for one in np.atleast_1d(value)]
    except (TypeError, ValueError, OverflowError):
        values = [np.nan]
    if not np.isfinite(values).all():
        raise UnreadableImageError(f"The file's {keyword} is not a finite number.")
    return values


def whole_numbers(pixels: Numbers, dataset: Any, name: str) -> tuple[Numbers, npt.NDArray[np.bool_] | None]:
    """The numbers in the bits that hold them (PS3.5 8.1.1), and where the padding is: outside of the image (PS3.3 C.7.5.1.1.2).

    Raises:
        UnreadableImageError: BitsAllocated, BitsStored, HighBit and the pixels contradict each other.
    """
    pixels = np.ascontiguousarray(pixels)
    kind = np.dtype(f"{'i' if dataset.PixelRepresentation else 'u'}{pixels.dtype.itemsize}")
    words = pixels.view(f"u{pixels.dtype.itemsize}")
    allocated, stored = 8 * words.dtype.itemsize, int(dataset.BitsStored)
    high = int(dataset.get("HighBit", stored - 1))
    up, shift = allocated - stored, high + 1 - stored
    bits = f"{dataset.BitsAllocated} bits allocated, {stored} stored, highest bit {high}"
    if not 1 <= stored <= allocated:
        raise UnreadableImageError(f"{name} states {bits}, which contradict each other.")
    padding = _padding(words, kind, stored, dataset)
    inside = words if padding is None else words[~padding]
    if shift > 0 and high < allocated and not int(np.bitwise_or.reduce(inside, axis=None)) & ((1 << shift) - 1):
        words, inside = words >> shift, inside >> shift  # the numbers lie in the upper bits
    least = -(1 << (stored - 1)) if kind.kind == "i" else 0
    low, most = (int(end) for end in (inside.view(kind).min(initial=0), inside.view(kind).max(initial=0)))
    if least <= low and most < least + (1 << stored):
        return words.view(kind), padding
    # Numbers below zero may lack the sign in the bits above; overlays may use these bits.
    if not (least <= low and most < 1 << stored) and not any(
        0x6000 <= tag.group < 0x6100 for tag in list(dataset.keys())
    ):
        raise UnreadableImageError(f"{name} states {bits}, and has pixels that need more bits.")
    return (words << up).view(kind) >> up, padding


def _padding(words: Numbers, kind: np.dtype[Any], stored: int, dataset: Any) -> npt.NDArray[np.bool_] | None:
    """Where the padding is. Its value may have the other sign, or lack the sign in the bits above `stored`: the bits count."""
    ends = _numbers(dataset, "PixelPaddingValue")[:1]
    ends += _numbers(dataset, "PixelPaddingRangeLimit")[:1] if ends else []
    values, signed = words.view(kind), kind.kind == "i"
    widths = (
        [8 * kind.itemsize, stored] if signed and all(0 <= end < 1 << stored for end in ends) else [8 * kind.itemsize]
    )
    for bits in widths if ends else ():
        least = -(1 << (bits - 1)) if signed else 0
        first, last = sorted((int(end) - least) % (1 << bits) + least for end in (ends[0], ends[-1]))
        if (found := (values >= first) & (values <= last)).any():
            return found
    return None


def displayed(
    stored: Numbers, padding: npt.NDArray[np.bool_] | None, dataset: Any, name: str
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Grey levels (H, W) in `BitsStored` bits, at least 8 and at most 16; padding is black."""
    bits = min(max(int(dataset.BitsStored), 8), 16)
    dtype: type[np.uint8] | type[np.uint16] = np.uint8 if bits == 8 else np.uint16

    def shown(values: Numbers) -> npt.NDArray[Any]:
        return np.rint(_unit(values, dataset, name) * (2**bits - 1)).astype(dtype)

    low, high = int(stored.min()), int(stored.max())
    if high - low > np.iinfo(np.uint16).max:
        result = in_strips(shown, stored)
    else:  # the displayed value depends on the stored value alone, and there are far fewer values than pixels
        table = shown(np.arange(low, high + 1))
        result = in_strips(lambda part: table[part.astype(np.int64) - low], stored)
    if padding is not None:
        result[padding] = 0
    return result


def _unit(stored: Numbers, dataset: Any, name: str) -> npt.NDArray[np.float64]:
    """Stored values of any shape → 0, black, to 1, white: the ends are those of the encoding, not of one image's content."""
    bits = int(dataset.BitsStored)
    values = stored.astype(np.float64)
    ends = np.array([0, 2**bits - 1]) - (2 ** (bits - 1) if dataset.PixelRepresentation else 0)
    if table := _table(dataset, "ModalityLUTSequence", values, name):
        values, white = table
        ends = np.array([0, white])
    else:
        slope, intercept = (
            (_numbers(dataset, keyword) or [usual])[0]
            for keyword, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
        if slope == 0:
            raise UnreadableImageError(f"{name} has RescaleSlope 0: all its pixels would be equal. Export it again.")
        values, ends = values * slope + intercept, ends * slope + intercept
    if table := _table(dataset, "VOILUTSequence", values, name):
        unit = table[0] / table[1]
    else:
        unit = _windowed(values, dataset, float(ends.min()), float(ends.max()))
    unit = np.clip(unit, 0, 1)
    return 1 - unit if dataset.PhotometricInterpretation == "MONOCHROME1" else unit  # white is the smallest value


def _windowed(values: npt.NDArray[np.float64], dataset: Any, low: float, high: float) -> npt.NDArray[np.float64]:
    """Values through the first window (PS3.3 C.11.2.1); without one, or with one of no width, from `low` to `high`."""
    centre, width = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    if not centre or not width or width[0] <= 0:
        return (values - low) / (high - low)
    c, w, function = centre[0], width[0], str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - c) / w, -700, 700)))
    if function == "LINEAR_EXACT" or w < 1:
        return (values - c) / w + 0.5
    return (values - (c - 0.5)) / (w - 1) + 0.5 if w > 1 else (values > c - 0.5).astype(np.float64)


def _table(
    dataset: Any, keyword: str, values: npt.NDArray[np.float64], name: str
) -> tuple[npt.NDArray[np.float64], float] | None:
    """Values through the first table of a sequence, and what is white in it; None without one that has entries."""
    item = (dataset.get(keyword) or [{}])[0]
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if not descriptor or data is None or not len(np.atleast_1d(data)):
        return None
    entries, first, white = _entries(descriptor, data, bool(values.min() < 0), _words(dataset), name)
    place = np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.intp)
    return entries[place].astype(np.float64), white


def _words(dataset: Any) -> np.dtype[Any]:
    return np.dtype(">u2" if dataset.original_encoding[1] is False else "<u2")


def _entries(descriptor: Any, data: Any, signed: bool, words: np.dtype[Any], name: str) -> tuple[Numbers, int, float]:
    """(entries, the value that the first one is for, white) of a table (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

    Entries of 8 bits may lie in bytes or in words, and a table of 16 bits may hold 8 or 12, whatever the descriptor says.
    """
    count, first, bits = (int(number) for number in descriptor)
    count, first = count % 2**16 or 2**16, first - 2**16 if signed and first >= 2**15 else first
    if not isinstance(data, bytes):
        data = (np.atleast_1d(np.asarray(data, dtype=np.int64)) % 2**16).astype(words).tobytes()
    entries: Numbers = np.frombuffer(data, words).astype(np.uint16)
    if bits <= 8 and len(entries) < count:  # two in a word
        entries = entries.astype("<u2").view(np.uint8)
    if len(entries) < count or not 1 <= bits <= 16:
        raise UnreadableImageError(
            f"{name} has a lookup table of {len(entries)} entries, and states {count} of {bits} bits."
        )
    entries = entries[:count]
    needed = int(entries.max()).bit_length()
    if needed > bits or (bits == 16 and needed <= 12):
        bits = 8 if needed <= 8 else 12 if needed <= 12 else 16
    return entries, first, float(2 ** max(bits, 8) - 1)


def colour_of_palette(stored: Numbers, dataset: Any, name: str) -> npt.NDArray[np.uint8]:
    """(H, W) numbers through the palette: (H, W, 3) uint8."""
    channels = []
    for colour in ("Red", "Green", "Blue"):
        keyword = f"{colour}PaletteColorLookupTable"
        if not (descriptor := dataset.get(f"{keyword}Descriptor")) or not (data := dataset.get(f"{keyword}Data")):
            return _segmented(stored, dataset, name)
        channels.append(_entries(descriptor, data, bool(dataset.PixelRepresentation), _words(dataset), name))
    white = max(white for _, _, white in channels)
    result = np.empty((*stored.shape, 3), np.uint8)
    for number, (entries, first, _) in enumerate(channels):
        levels = (entries >> 8 if white == 65535 else np.rint(entries * (255 / white))).astype(np.uint8)
        result[..., number] = levels[np.clip(stored.astype(np.int32) - first, 0, len(levels) - 1)]
    return result


def _segmented(stored: Numbers, dataset: Any, name: str) -> npt.NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_color_lut

    if "SegmentedRedPaletteColorLookupTableData" not in dataset:
        raise UnreadableImageError(f"{name} has colours of a palette, and no palette.")
    colour = apply_color_lut(stored, dataset)[..., :3]
    return colour if colour.dtype == np.uint8 else (colour >> 8).astype(np.uint8)
