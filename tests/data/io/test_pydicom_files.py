"""Every file that comes with pydicom, and real ones: the pixels that pydicom itself shows, or a refusal whose reason is known."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from mammozoo.data.io.dicom import frame_note, frames_of
from mammozoo.data.io.images import read_image
from mammozoo.data.io.limits import MAX_PIXELS, UnreadableImageError

REFUSED = {  # file → a word of the reason
    "JPEG2000-embedded-sequence-delimiter.dcm": "two sizes",  # so it is meant to be
    "MR_truncated.dcm": "truncated",
}
LOSSY = 3.01  # levels by which two decoders of lossy JPEG may differ
PIXELS = {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}


def files() -> Iterator[Path]:
    """DICOM files of pydicom that are here, not those that it would fetch; then those of the local data."""
    roots = [Path(pydicom.data.__file__).parent]
    if local := os.environ.get("MAMMOZOO_TEST_DATA"):
        roots.append(Path(local) / "data" / "dicom")
    for path in sorted(path for root in roots for path in root.rglob("*") if path.is_file()):
        if "TINY_ALPHA" not in path.parts and (path.suffix == ".dcm" or path.read_bytes()[128:132] == b"DICM"):
            yield path


def expected(path: Path, frame: int) -> np.ndarray[Any, Any]:
    """What pydicom makes of a frame, from 0 to 1: (H, W), or (H, W, 3)."""
    header = pydicom.dcmread(path, force=True)
    pixels = header.pixel_array if int(header.get("NumberOfFrames") or 1) == 1 else header.pixel_array[frame - 1]
    kind = header.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        return apply_color_lut(pixels, header)[..., :3] / (
            255 if header.RedPaletteColorLookupTableDescriptor[2] == 8 else 65535
        )
    if pixels.ndim == 3:
        return pixels / np.iinfo(pixels.dtype).max
    stored = header.BitsStored
    ends = np.array([0, 2**stored - 1]) - (2 ** (stored - 1) if header.PixelRepresentation else 0)
    ends = np.sort(ends * float(header.get("RescaleSlope", 1)) + float(header.get("RescaleIntercept", 0)))
    unit = (apply_voi_lut(apply_modality_lut(pixels, header), header) - ends[0]) / (ends[1] - ends[0])
    unit = np.clip(1 - unit if kind == "MONOCHROME1" else unit, 0, 1)
    padding = header.get("PixelPaddingValue")
    return unit if padding is None else np.where(pixels == padding, 0, unit)


@pytest.mark.parametrize("path", [*files()], ids=lambda path: path.name)
def test_the_pixels_are_those_of_pydicom(path: Path, capfd) -> None:
    header = pydicom.dcmread(path, force=True)
    if path.name in REFUSED:
        reason = REFUSED[path.name]
    elif not PIXELS & {*header.dir()} or "Rows" not in header:
        reason = "no pixel data|does not state"
    elif min(header.Rows, header.Columns) < 16 or header.Rows * header.Columns > MAX_PIXELS:
        reason = "needs at least 16|100 million"
    else:
        reason = ""
    if reason:
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(path)
        return
    try:
        shown = read_image(path)
    except UnreadableImageError as error:
        with pytest.raises(RuntimeError):  # where a decoder is missing, pydicom has none either
            _ = header.pixel_array
        pytest.skip(str(error))
    assert capfd.readouterr() == ("", "")
    count, frame = frames_of(path)
    assert count == int(header.get("NumberOfFrames") or 1) and (frame_note(path) is None) == (count == 1)
    # pydicom asks GDCM for no JPEG of 12 bits, and libjpeg refuses a scan that states no spectrum.
    try:
        wanted = expected(path, frame)
    except RuntimeError as error:
        assert "12-bit precision" in str(error)
        assert shown.dtype == np.uint16 and len(np.unique(shown)) > 100
        return
    if wanted.ndim == 3 and shown.ndim == 2:
        shown = np.stack([shown] * 3, axis=2)
    syntax = header.file_meta.get("TransferSyntaxUID", "")
    lossy = LOSSY if wanted.ndim == 3 and getattr(syntax, "is_compressed", False) else 1
    assert shown.shape == wanted.shape
    top = np.iinfo(np.uint8).max if shown.dtype == np.uint8 else 2 ** min(max(int(header.BitsStored), 8), 16) - 1
    assert np.abs(shown / top - wanted).max() <= lossy / min(top, 255 if lossy > 1 else top)
    for one in {1, count} if count > 1 else ():
        named = read_image(path.with_name(f"{path.name}#{one}"))
        np.testing.assert_allclose(named / top, expected(path, one), atol=lossy / 255)
    if count > 1:
        with pytest.raises(UnreadableImageError, match=f"no frame {count + 1}"):
            read_image(path.with_name(f"{path.name}#{count + 1}"))
