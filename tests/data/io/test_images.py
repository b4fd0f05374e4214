"""Real bytes in, arrays or one clear refusal out."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGLosslessSV1

from mammozoo.data.io.dicom import frame_note, read_header
from mammozoo.data.io.images import UnreadableImageError, image_shape, read_image, to_channels, to_uint8
from mammozoo.errors import NotFoundError

from ...builtin.trees.dicom import write_dicom as dicom
from ...builtin.trees.drawing import huge_png

GREY = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (40, 30), dtype=np.uint16)


@pytest.fixture(autouse=True)
def _no_warnings(recwarn) -> Any:
    """Pillow and pydicom must not talk past us."""
    yield
    assert not [str(warning.message) for warning in recwarn]


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("stored", "suffixes"),
    [(GREY, ["png", "bmp", "tif", "pgm", "gif"]), (RGB, ["png", "bmp", "tif"]), (DEEP, ["png", "tif", "pgm"])],
    ids=["grey", "colour", "16 bits"],
)
def test_pixels_come_back_as_stored(tmp_path, stored: np.ndarray[Any, Any], suffixes: list[str]) -> None:
    for suffix in suffixes:
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(stored).save(path)
        pixels = read_image(path)
        assert pixels.dtype == stored.dtype
        np.testing.assert_array_equal(pixels, stored)


def test_jpeg_is_near_what_was_stored_and_equal_channels_are_grey(tmp_path) -> None:
    smooth = np.tile(np.arange(0, 240, 6, dtype=np.uint8)[:, None], (1, 30))
    Image.fromarray(smooth).save(tmp_path / "a.JPG", format="JPEG", quality=95)
    assert np.abs(read_image(tmp_path / "a.JPG").astype(int) - smooth).max() <= 4
    Image.fromarray(np.repeat(GREY[..., None], 3, axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY)
    nearly = np.repeat(GREY[..., None], 3, axis=2)
    nearly[0, 0, 2] ^= 1
    Image.fromarray(nearly).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").shape == (40, 30, 3)


def test_float_tiff_and_exif_orientation(tmp_path) -> None:
    values = np.linspace(-1, 1, 1200, dtype=np.float32).reshape(40, 30)
    Image.fromarray(values).save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif")
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, values)
    values[3, 3] = np.nan
    Image.fromarray(values).save(tmp_path / "b.tif")
    with pytest.raises(UnreadableImageError, match="not finite"):
        read_image(tmp_path / "b.tif")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(GREY, -1))


def test_cmyk_and_palettes_become_rgb_or_grey_and_one_bit_0_and_255(tmp_path) -> None:
    image = Image.new("P", (30, 40), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [10, 200, 30]
    image.putpalette([0, 0, 0, 77, 77, 77])
    image.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), np.full((40, 30), 77))
    cyan = Image.new("CMYK", (30, 40), (255, 0, 0, 0))
    cyan.save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [0, 255, 255]
    Image.fromarray(GREY > 100).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.where(GREY > 100, 255, 0))


def test_transparent_pixels_are_black(tmp_path) -> None:
    alpha = np.full((40, 30), 255, np.uint8)
    alpha[:20] = 0
    for opaque in (RGB, GREY):
        Image.fromarray(np.dstack([opaque, alpha])).save(tmp_path / "a.png")
        pixels = read_image(tmp_path / "a.png")
        assert pixels.shape == opaque.shape
        assert not pixels[:20].any()
        np.testing.assert_array_equal(pixels[20:], opaque[20:])


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("suffix", "part"), [("png", 0.5), ("jpg", 0.9), ("bmp", 0.9), ("tif", 0.5), ("pgm", 0.9)])
def test_truncated(tmp_path, suffix: str, part: float) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UnreadableImageError, match=r"truncated or damaged|header is damaged") as refusal:
        read_image(path)
    assert str(path) in str(refusal.value)


def test_empty_text_and_formats_that_run_programs(tmp_path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    with pytest.raises(UnreadableImageError, match="0 bytes"):
        read_image(path)
    path.write_text("<html>404</html>")
    with pytest.raises(UnreadableImageError, match="not an image that mammozoo reads"):
        read_image(path)
    Image.fromarray(GREY).save(path, format="EPS")
    with pytest.raises(UnreadableImageError, match="not an image that mammozoo reads"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif"])
def test_several_frames(tmp_path, suffix: str) -> None:
    frames = [Image.fromarray(np.roll(GREY, shift)) for shift in (0, 1, 2)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match="holds 3 frames"):
        read_image(path)


@pytest.mark.parametrize("side", [10_001, 13_000, 30_000])
def test_too_large_is_refused_by_its_header(tmp_path, side: int) -> None:
    # 13,000 squared is above Pillow's limit for a warning, 30,000 squared above that for an error.
    with pytest.raises(UnreadableImageError, match="100 million"):
        read_image(huge_png(tmp_path / "a.png", side))


@pytest.mark.parametrize("size", [(1, 1), (15, 100), (100, 15)])
def test_too_small(tmp_path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=f"{size[0]} x {size[1]} pixels; an image needs at least 16"):
        read_image(tmp_path / "a.png")


def test_folder_missing_pipe_and_no_permission(tmp_path, monkeypatch) -> None:
    with pytest.raises(UnreadableImageError, match="folder"):
        read_image(tmp_path)
    with pytest.raises(NotFoundError, match="nothing"):
        read_image(tmp_path / "nothing.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(Path, "open", refuse)  # root, as in a container, may read everything
    with pytest.raises(UnreadableImageError, match="Permission denied"):
        read_image(tmp_path / "a.png")


# ---------------------------------------------------------------- DICOM


def test_dicom_of_8_bits_is_known_by_its_content_with_and_without_preamble(tmp_path) -> None:
    for name, stored in (("IM0001", GREY), ("IM0002", RGB)):
        pixels = read_image(dicom(tmp_path / name, stored))
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, stored)
        assert image_shape(tmp_path / name) == (40, 30)
    dataset = pydicom.dcmread(tmp_path / "IM0001")
    dataset.file_meta, dataset.preamble = FileMetaDataset(), None
    old = tmp_path / "old.dcm"
    dataset.save_as(old, implicit_vr=True, little_endian=True)
    assert old.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_image(old), GREY)


def test_dicom_depth_window_and_rescale(tmp_path) -> None:
    deep = (DEEP >> 4).astype(np.uint16)
    pixels = read_image(dicom(tmp_path / "a.dcm", deep, BitsStored=12))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, deep)
    inverted = dicom(tmp_path / "b.dcm", deep, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(inverted), 4095 - deep)
    ramp = np.tile(np.arange(0, 4000, 100, dtype=np.uint16)[:, None], (1, 30))
    path = dicom(tmp_path / "a.dcm", ramp, BitsStored=12, WindowCenter=2000, WindowWidth=1000)
    shown = read_image(path)[:, 0]
    assert shown[:15].tolist() == [0] * 15
    assert shown[26:].tolist() == [4095] * 14
    assert abs(int(shown[20]) - 2048) < 5
    signed = np.tile(np.arange(-2000, 2000, 100, dtype=np.int16)[:, None], (1, 30))
    tags = {"BitsStored": 12, "RescaleSlope": 2, "RescaleIntercept": -7, "WindowCenter": 0, "WindowWidth": 400}
    shown = read_image(dicom(tmp_path / "a.dcm", signed, **tags))[:, 0].astype(int)
    assert (shown[0], shown[-1]) == (0, 4095)
    assert abs(shown[20] - ((-7 + 0.5) / 399 + 0.5) * 4095) < 1  # PS3.3 C.11.2.1.2.1 for the value -7


def test_dicom_of_several_frames_or_too_large(tmp_path) -> None:
    frames = np.stack([np.roll(GREY, shift) for shift in range(5)])
    for more, usual in (({}, 3), ({"RepresentativeFrameNumber": 2}, 2), ({"RepresentativeFrameNumber": 9}, 3)):
        path = dicom(tmp_path / "a.dcm", frames, NumberOfFrames=5, **more)
        np.testing.assert_array_equal(read_image(path), frames[usual - 1])
        assert f"frame {usual} of 5" in (frame_note(path) or "")
    named = tmp_path / "a.dcm#5"
    np.testing.assert_array_equal(read_image(named), frames[4])
    assert frame_note(named) is None and read_header(named, "Rows").Rows == 40
    for number in (0, 6):
        with pytest.raises(UnreadableImageError, match=f"5 frames; there is no frame {number}"):
            read_image(tmp_path / f"a.dcm#{number}")
    path.rename(tmp_path / "a.dcm#5")  # a name that exists is a name
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm#5"), frames[2])
    with pytest.raises(UnreadableImageError, match="truncated"):
        read_image(dicom(tmp_path / "a.dcm", frames[:4], NumberOfFrames=5))
    with pytest.raises(UnreadableImageError, match="100 million"):
        read_image(dicom(tmp_path / "b.dcm", GREY, Rows=30_000, Columns=30_000))


def test_a_cut_jpeg_stream_in_dicom_is_refused(tmp_path) -> None:
    """Some decoders fill up what is missing: half a mammogram is then black without a word."""
    for number, name in enumerate(("SC_rgb_jpeg_gdcm.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm")):
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file(name))
        stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([stream[: len(stream) // 2]])
        dataset.save_as(tmp_path / f"{number}.dcm")
        with pytest.raises(UnreadableImageError, match=r"truncated|no decoder"):
            read_image(tmp_path / f"{number}.dcm")


def test_dicom_without_pixels_or_truncated(tmp_path) -> None:
    path = dicom(tmp_path / "a.dcm", GREY)
    report = pydicom.dcmread(path)
    del report.PixelData
    report.save_as(tmp_path / "report.dcm")
    with pytest.raises(UnreadableImageError, match="no pixel data"):
        read_image(tmp_path / "report.dcm")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UnreadableImageError, match="truncated or damaged"):
        read_image(path)
    (tmp_path / "text.dcm").write_text("no DICOM at all, just some text that goes on for a while" * 9)
    with pytest.raises(UnreadableImageError, match="DICOM"):
        read_image(tmp_path / "text.dcm")


def test_dicom_compressed_names_the_extra(tmp_path, monkeypatch) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    monkeypatch.setattr(type(get_decoder(JPEGLosslessSV1)), "is_available", False)
    path = dicom(tmp_path / "a.dcm", GREY, syntax=JPEGLosslessSV1, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    with pytest.raises(UnreadableImageError, match="python-gdcm"):
        read_image(path)


# ---------------------------------------------------------------- conversions


def test_to_uint8_and_channels() -> None:
    assert to_uint8(GREY) is GREY
    np.testing.assert_array_equal(to_uint8(np.array([[100, 1100], [600, 100]], np.uint16)), [[0, 255], [128, 0]])
    np.testing.assert_array_equal(to_uint8(np.array([[-1.0, 0.0, 1.0]], np.float32)), [[0, 128, 255]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not to_uint8(np.full((4, 4), 900, np.uint16)).any()
    assert to_channels(GREY, 1).shape == (40, 30, 1)
    np.testing.assert_array_equal(to_channels(GREY, 3), np.dstack([GREY] * 3))
    np.testing.assert_array_equal(to_channels(RGB, 3), RGB)
    luma = to_channels(RGB, 1)
    assert luma.dtype == np.uint8
    assert luma.shape == (40, 30, 1)
    np.testing.assert_allclose(luma[..., 0], RGB @ [0.299, 0.587, 0.114], atol=0.51)
    assert to_channels(DEEP, 1).dtype == np.uint16
