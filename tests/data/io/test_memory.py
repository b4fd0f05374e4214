"""What large images and packed files take of memory, measured; and that packed ones are refused before they are unpacked."""

import io
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mammozoo.data.duplicates.fingerprint import fingerprint
from mammozoo.data.io import dicom, limits
from mammozoo.data.io.images import UnreadableImageError, read_image
from mammozoo.data.io.several import read_many
from mammozoo.data.ood import features
from mammozoo.data.preprocessing import Input

from .dicom_writer import dataset, written
from .writers import png, tiff

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory can be set back on Linux only")
SIDE = 2200


def _peak() -> int:
    """The most bytes that were resident since `_begin`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _begin() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


ROWS = np.broadcast_to(np.arange(SIDE) // 12, (SIDE, SIDE))
OF_COLOUR = np.broadcast_to(ROWS[..., None], (SIDE, SIDE, 3)) * [1, 1, 0]
WINDOW = {"BitsStored": 12, "WindowCenter": 99, "WindowWidth": 99}
HALF = np.full((SIDE, SIDE), 128)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: png(np.dstack([OF_COLOUR, HALF]), 6, 8), id="RGBA"),
        pytest.param(lambda: png(ROWS, 3, 8, palette=np.arange(768).reshape(256, 3) % 256, clear=b"\x80" * 256), id="palette"),
        pytest.param(lambda: tiff(ROWS.astype("f4"), 1, compression=8), id="float"),
        pytest.param(lambda: tiff(ROWS.astype("u4") << 20, 1, compression=8), id="32 bits"),
        pytest.param(lambda: written(dataset(ROWS.astype("i2"), **WINDOW), ExplicitVRLittleEndian), id="DICOM"),
        pytest.param(lambda: written(dataset(OF_COLOUR.astype("u1")), DeflatedExplicitVRLittleEndian), id="deflated"),
    ],
)  # fmt: skip
def test_at_most_twenty_bytes_a_pixel(tmp_path, content) -> None:
    """At this size; strips and buffers take a part of it, and the largest image takes 13 and less than 1.5 GB."""
    path = tmp_path / "a"
    path.write_bytes(content())
    start = _begin()
    pixels = read_image(path)
    for color in ("grey", "rgb"):
        Input(size=(64, 64), color=color).preparer()(pixels)
    features(pixels), fingerprint(pixels)
    assert (_peak() - start) / SIDE**2 <= 20


def test_a_large_image_takes_its_turn(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "LARGE", 40 * 30)
    taken: list[str] = []
    monkeypatch.setattr(limits, "take_turn", lambda: taken.append(""))
    for name, shape in (("small", (40, 30)), ("large", (40, 31))):
        Image.new("L", shape).save(tmp_path / f"{name}.png")
        list(read_many(read_image, [tmp_path / f"{name}.png"]))
        assert bool(taken) == (name == "large")


@pytest.mark.parametrize("preamble", [True, False])
def test_a_deflated_file_is_measured_before_it_is_unpacked(tmp_path, preamble: bool) -> None:
    sound = written(dataset(np.arange(1024, dtype="u1").reshape(32, 32)), DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(sound[140:144], "little")
    packer, buffer = zlib.compressobj(1, wbits=-15), io.BytesIO()
    buffer.write(packer.compress(zlib.decompress(sound[start:], -15)))
    for _ in range(dicom._MOST_BYTES // 2**20 + 1):
        buffer.write(packer.compress(bytes(2**20)))
    path = tmp_path / "a.dcm"
    path.write_bytes(sound[0 if preamble else 132 : start] + buffer.getvalue() + packer.flush())
    before = _begin()
    with pytest.raises(UnreadableImageError, match="unpacks to more than"):
        read_image(path)
    assert dicom.read_modality(path) is None  # and nothing else that looks into it unpacks it
    assert _peak() - before < 30e6


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "dcm"])
def test_a_file_larger_than_any_picture_is_not_read(tmp_path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    grey = Image.fromarray(np.arange(1024, dtype="u1").reshape(32, 32))
    grey.save(path) if suffix != "dcm" else path.write_bytes(written(dataset(np.asarray(grey)), ExplicitVRLittleEndian))
    os.truncate(path, 2 * 10**9)  # a hole, which takes no space on the disk
    before = _begin()
    with pytest.raises(UnreadableImageError, match="2000 MB"):
        read_image(path)
    assert _peak() - before < 30e6
