"""Files damaged inside: refused wherever the file lets a reader know."""

import contextlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from mammozoo.data.io.images import UnreadableImageError, read_image, to_uint8

from ...builtin.trees.dicom import write_dicom as dicom

GREY = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
SMOOTH = np.rint(127 * np.sin(np.add.outer(np.arange(90) ** 1.3, np.arange(80) ** 1.2) / 99) + 128).astype(np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (40, 30), dtype=np.uint16)


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "TIFF", "compression": "tiff_adobe_deflate"}])
@pytest.mark.parametrize("stored", [GREY, SMOOTH, RGB, DEEP], ids=["noise", "smooth", "colour", "16 bits"])
def test_any_wrong_byte_is_found_where_there_are_checksums(tmp_path, stored, options, capfd) -> None:
    path = tmp_path / f"a.{options['format'][:3].lower()}"
    Image.fromarray(stored).save(path, **options)
    sound = path.read_bytes()
    end = len(sound) - (300 if path.suffix == ".tif" else 12)  # behind it are the tags
    for place in np.random.default_rng(0).integers(60, end, 60).tolist():
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        with contextlib.suppress(UnreadableImageError):
            np.testing.assert_array_equal(read_image(path), stored)  # the byte meant nothing


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 4}], ids=str
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_damaged_inside_are_refused(tmp_path, mode: str, options: dict[str, Any]) -> None:
    path = tmp_path / "a.jpg"
    film = np.clip(100 * np.add.outer(np.sin(np.arange(200) / 9), np.cos(np.arange(160) / 7)) + 120, 0, 255)
    film = np.clip(film + np.random.default_rng(0).normal(0, 9, film.shape), 0, 255).astype(np.uint8)
    Image.fromarray(film).convert(mode).save(path, quality=92, **options)
    sound, half = path.read_bytes(), path.stat().st_size // 2
    pixels = read_image(path)
    path.write_bytes(sound + b"some text behind it")  # nothing is lost
    np.testing.assert_array_equal(read_image(path), pixels)
    damaged = {
        "half a file and the end marker": sound[:half] + sound[-2:],
        "a hole": sound[: half - 500] + sound[half + 500 :],
        "zeros at its end": sound[:-2] + bytes(500) + sound[-2:],
        "another's second half": sound[:half] + sound[half - 1000 :],
    }
    for what, content in damaged.items():
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError, match="damaged"):
            print(what, read_image(path).shape)
    dicom(tmp_path / "b.dcm", film, syntax=JPEGBaseline8Bit, PixelData=encapsulate([damaged["a hole"]]))
    with pytest.raises(UnreadableImageError, match="damaged" if mode == "L" else "differ in shape|damaged"):
        read_image(tmp_path / "b.dcm")


def test_what_libtiff_finds_damaged_is_refused_and_not_printed(tmp_path, capfd) -> None:
    """Pillow drops what it says: a scan went on with other lines, and stderr had one for each."""
    path = tmp_path / "a.tif"
    Image.fromarray(SMOOTH > 128).save(path, compression="group4")
    sound = path.read_bytes()
    with Image.open(path) as image:
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    read = 0
    for place in range(start, start + length):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        with contextlib.suppress(UnreadableImageError):
            read += read_image(path).size > 0
    assert read < length / 4
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("numbers", [(-3e38, 3e38), (0, 1e-36), (-1e35, 1e30), (5, 5.0000005)])
def test_a_range_that_cannot_be_stretched_is_refused(tmp_path, numbers: tuple[float, float], recwarn) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.resize(np.array(numbers, np.float32), (20, 20))).save(path)
    if numbers[0] == 5:
        assert to_uint8(read_image(path)).max() == 255
    else:
        with pytest.raises(UnreadableImageError, match="range"):
            read_image(path)
    assert not recwarn.list
