"""One known picture in every kind of DICOM file that can be written here: it comes back, or the refusal says why."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from .dicom_writer import NATIVE, dataset, table, written
from .test_every_kind import COLOUR, GREY, H, Pixels, W, all_come_back, levels
from .writers import product

#: What it is, the picture that it shows, its data set and transfer syntax, a word of the refusal or "".
Case = tuple[str, Pixels, Dataset, str, str]
PADDING, LIMIT = 0x00280120, 0x00280121


def of_grey() -> Iterator[Case]:
    """Bits × sign × polarity × syntax × what maps the numbers to grey."""
    layouts = [(8, 6), (8, 8), (16, 8), (16, 12), (16, 16), (32, 32)]
    for (allocated, stored), o in (
        (a, o) for a in layouts for o in product(signed=(False, True), inverse=(False, True))
    ):
        least, most = -(2 ** (stored - 1)) if o["signed"] else 0, 2**stored - 1
        numbers = levels(1 - GREY if o["inverse"] else GREY, most) + least
        shown = levels(GREY, most) / most
        pixels = numbers.astype(f"{'i' if o['signed'] else 'u'}{allocated // 8}")
        tags = {"BitsStored": stored, "PhotometricInterpretation": f"MONOCHROME{1 if o['inverse'] else 2}"}
        name = f"{allocated}/{stored} {o}"
        for syntax in NATIVE[: None if o["signed"] == o["inverse"] else 1]:
            yield f"{name} {syntax}", shown, dataset(pixels, syntax, **tags), syntax, ""
        middle = least + most / 2
        ways: dict[str, dict[str, Any]] = {
            "rescaled": {"RescaleSlope": 2, "RescaleIntercept": -100},
            "window": {"WindowCenter": middle + 0.5, "WindowWidth": most + 1},
            "window after rescaling": {
                "WindowCenter": 2 * middle - 99.5,
                "WindowWidth": 2 * most + 1,
                "RescaleSlope": 2,
                "RescaleIntercept": -100,
            },
            "exact": {"WindowCenter": middle, "WindowWidth": most, "VOILUTFunction": "LINEAR_EXACT"},
            "of no width": {"WindowCenter": 40, "WindowWidth": 0},
            "empty": dict.fromkeys(
                ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
                "",
            ),
            "several": {"WindowCenter": [middle + 0.5, 1], "WindowWidth": [most + 1, 2]},
        }
        for way, more in ways.items():
            if stored < 32:
                yield f"{name} {way}", shown, dataset(pixels, **tags, **more), ExplicitVRLittleEndian, ""
        if stored <= 14:
            entries = np.arange(most + 1) << (16 - stored)
            for words in (True, False) if stored == 8 else (False,):
                yield (
                    f"{name} VOI {words}",
                    shown,
                    dataset(pixels, **tags, VOILUTSequence=table(entries, least, 16, words)),
                    ExplicitVRLittleEndian,
                    "",
                )
            yield (
                f"{name} modality",
                shown,
                dataset(pixels, **tags, ModalityLUTSequence=table(entries, least, words=False)),
                ExplicitVRLittleEndian,
                "",
            )
        if 8 <= stored <= 12:
            yield (
                f"{name} 16 bits said",
                shown,
                dataset(pixels, **tags, VOILUTSequence=table(np.arange(most + 1), least, words=False)),
                ExplicitVRLittleEndian,
                "",
            )
        if allocated == 16:
            yield from _padded(name, pixels, stored, tags, o["signed"])
            yield from _misplaced(name, pixels, stored, allocated, tags, o["signed"])


def _padded(name: str, pixels: Pixels, stored: int, tags: dict[str, Any], signed: bool) -> Iterator[Case]:
    """A margin of padding, which is black, whichever number type states its value."""
    shown = GREY.copy()
    shown[:, -4:] = 0
    shown /= shown.max() if stored > 8 else 1  # a deep picture is stretched
    for value in (-(2 ** (stored - 1)), -(2 ** (stored - 1)) + 3) if signed else (0, 2**stored - 1, 65535):
        padded = pixels.copy()
        padded[:, -4:] = value
        other = value % 65536 if signed else value - 65536 if value > 32767 else value
        for vr, number in (("SS" if signed else "US", value), ("US" if other >= 0 else "SS", other)):
            yield (
                f"{name} padding {vr} {number}",
                shown,
                dataset(padded, ExplicitVRLittleEndian, (PADDING, vr, number), **tags),
                ExplicitVRLittleEndian,
                "",
            )
        limits = dataset(padded, ExplicitVRLittleEndian, (PADDING, vr, number), (LIMIT, vr, None), **tags)
        yield f"{name} padding, empty limit", shown, limits, ExplicitVRLittleEndian, ""
    if stored < 16:  # white and black stay as they are
        absent = dataset(pixels, ExplicitVRLittleEndian, (PADDING, "US", 40_000), **tags)
        yield (
            f"{name} padding that does not occur",
            levels(GREY, 2**stored - 1) / (2**stored - 1),
            absent,
            ExplicitVRLittleEndian,
            "",
        )


def _misplaced(
    name: str, pixels: Pixels, stored: int, allocated: int, tags: dict[str, Any], signed: bool
) -> Iterator[Case]:
    """`HighBit` and `BitsStored` that differ, and pixels that use the bits above."""
    up, plain = allocated - stored, ExplicitVRLittleEndian
    words = pixels.view("u2")
    yield f"{name} in the upper bits", GREY, dataset((words << up).view(pixels.dtype), HighBit=15, **tags), plain, ""
    if up:
        yield f"{name} wrong high bit", GREY, dataset(pixels, HighBit=15, **tags), plain, ""
        unsigned = words & ((1 << stored) - 1)
        yield f"{name} sign not extended", GREY, dataset(unsigned.view(pixels.dtype), **tags), plain, ""
        marked = unsigned | np.where(np.arange(W) % 2, 1 << stored, 0).astype("u2")
        overlay = (0x60000102, "US", stored)
        yield f"{name} with overlay", GREY, dataset(marked.view(pixels.dtype), plain, overlay, **tags), plain, ""
        marked = unsigned | np.where(np.arange(W) % 2, 3 << 14, 0).astype("u2") if stored < 14 else marked
        yield f"{name} of more bits", GREY, dataset(marked.view(pixels.dtype), **tags), plain, "need more bits"


def of_colour() -> Iterator[Case]:
    rgb = levels(COLOUR, 255).astype("u1")
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    deep = levels(COLOUR, 4095).astype("u2")
    for syntax in NATIVE:
        for planar in (0, 1, None):
            order = (2, 0, 1) if planar else (0, 1, 2)
            for name, pixels, photometric in (("RGB", rgb, "RGB"), ("YBR", ycc, "YBR_FULL"), ("12 bits", deep, "RGB")):
                moved = np.ascontiguousarray(pixels.transpose(order)).reshape(H, W, 3)
                tags = {
                    "PhotometricInterpretation": photometric,
                    "PlanarConfiguration": planar,
                    "BitsStored": 12 if pixels is deep else 8,
                }
                yield f"{name} {planar} {syntax}", COLOUR, dataset(moved, syntax, **tags), syntax, ""
    yield "RGB, empty planar", COLOUR, dataset(rgb, PlanarConfiguration=""), ExplicitVRLittleEndian, ""
    for photometric, refused in (
        ("HSV", "HSV"),
        ("YBR_ICT", "JPEG 2000"),
        ("YBR_PARTIAL_422", "PARTIAL"),
        ("MONOCHROME2", "MONOCHROME2"),
    ):
        yield photometric, COLOUR, dataset(rgb, PhotometricInterpretation=photometric), ExplicitVRLittleEndian, refused
    for bits, words, high in (
        (8, False, 1),
        (8, True, 1),
        (8, True, 257),
        (16, True, 1),
        (16, True, 257),
        (12, True, 16),
    ):
        values = np.random.default_rng(3).permutation(256) * high
        data = values.astype("<u2" if words else "u1").tobytes()
        made = dataset(levels(GREY, 255).astype("u1"), PhotometricInterpretation="PALETTE COLOR")
        for n, _colour in enumerate(("Red", "Green", "Blue")):
            made.add_new(0x00281101 + n, "US", [256, 0, bits])
            made.add_new(0x00281201 + n, "OW", data)
        yield (
            f"palette {bits} {words} {high}",
            (values / high / 255)[levels(GREY, 255)],
            made,
            ExplicitVRLittleEndian,
            "",
        )
    yield (
        "no palette",
        GREY,
        dataset(levels(GREY, 255).astype("u1"), PhotometricInterpretation="PALETTE COLOR"),
        ExplicitVRLittleEndian,
        "no palette",
    )


def _jpeg(pixels: Pixels, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=97, subsampling=0, **options)
    return buffer.getvalue()


def _without_marker(stream: bytes) -> bytes:
    """A JPEG without its JFIF or Adobe marker: it does not tell its colour space."""
    return stream[:2] + stream[4 + int.from_bytes(stream[4:6]) :]


def of_compressed() -> Iterator[Case]:
    rgb, grey = levels(COLOUR, 255).astype("u1"), levels(GREY, 255).astype("u1")
    for (stored, signed), inverse in (
        (a, i) for a in ((8, False), (8, True), (12, False), (12, True), (16, False), (16, True)) for i in (False, True)
    ):
        least = -(2 ** (stored - 1)) if signed else 0
        pixels = (levels(1 - GREY if inverse else GREY, 2**stored - 1) + least).astype(
            f"{'i' if signed else 'u'}{1 + (stored > 8)}"
        )
        tags = {"BitsStored": stored, "PhotometricInterpretation": f"MONOCHROME{1 if inverse else 2}"}
        made = dataset(pixels, **tags)
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.compress(RLELossless, generate_instance_uid=False)
        yield f"RLE {stored} {signed} {inverse}", GREY, made, RLELossless, ""
        if not signed and stored != 12:
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
            yield (
                f"JPEG 2000 {stored} {inverse}",
                GREY,
                dataset(pixels, **tags, PixelData=encapsulate([stream.getvalue()])),
                JPEG2000Lossless,
                "",
            )
    for inverse in (1, 2):
        shown = dataset(
            grey,
            PhotometricInterpretation=f"MONOCHROME{inverse}",
            PixelData=encapsulate([_jpeg(255 - grey if inverse == 1 else grey)]),
        )
        yield f"JPEG grey {inverse}", GREY, shown, JPEGBaseline8Bit, ""
    # Header and stream: what the stream states counts; of a stream that states nothing, the header.
    jfif, adobe = _jpeg(rgb), _jpeg(rgb, keep_rgb=True)
    for photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        for name, stream in (("JFIF", jfif), ("Adobe", adobe)):
            yield (
                f"JPEG {name} {photometric}",
                COLOUR,
                dataset(rgb, PhotometricInterpretation=photometric, PixelData=encapsulate([stream])),
                JPEGBaseline8Bit,
                "",
            )
    mute = bytearray(_without_marker(adobe))  # RGB under the names of Y, Cb and Cr
    for start in (mute.index(b"\xff\xc0") + 10, mute.index(b"\xff\xda") + 5):
        step = 3 if mute[start - 9] == 0xC0 or start < mute.index(b"\xff\xda") else 2
        mute[start : start + 3 * step : step] = b"\1\2\3"
    yield "JPEG silent RGB", COLOUR, dataset(rgb, PixelData=encapsulate([bytes(mute)])), JPEGBaseline8Bit, ""
    silent = _without_marker(jfif)
    yield (
        "JPEG silent YBR",
        COLOUR,
        dataset(rgb, PhotometricInterpretation="YBR_FULL_422", PixelData=encapsulate([silent])),
        JPEGBaseline8Bit,
        "",
    )
    for photometric, mct in ((p, m) for p in ("RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL") for m in (0, 1)):
        stored = rgb if mct or photometric != "YBR_FULL" else np.asarray(Image.fromarray(rgb).convert("YCbCr"))
        stream = io.BytesIO()
        Image.fromarray(stored).save(stream, "JPEG2000", irreversible=False, mct=mct, no_jp2=True)
        made = dataset(rgb, PhotometricInterpretation=photometric, PixelData=encapsulate([stream.getvalue()]))
        yield f"JPEG 2000 {photometric} {mct}", COLOUR, made, JPEG2000, ""


def of_contradictions() -> Iterator[Case]:
    """Headers that lack something, or say something else than the pixels."""
    grey, plain = levels(GREY, 255).astype("u1"), ExplicitVRLittleEndian
    yield "frames", GREY, dataset(grey, PixelData=grey.tobytes() * 3), plain, "3 frames"
    yield "JPEG frames", GREY, dataset(grey, PixelData=encapsulate([_jpeg(grey)] * 3)), JPEGBaseline8Bit, "3 frames"
    other = encapsulate([_jpeg(grey[:-1])])
    yield "other size", GREY, dataset(grey, PixelData=other), JPEGBaseline8Bit, "differ in shape"
    yield "RGB of 32 bits", COLOUR, dataset(levels(COLOUR, 2**32 - 1).astype("u4")), plain, ""
    yield "RGB of 12 in 32 bits", COLOUR, dataset(levels(COLOUR, 4095).astype("u4")), plain, ""
    yield "RGB with a sign", COLOUR, dataset(levels(COLOUR, 127).astype("i1")), plain, "int8"
    yield "bits", GREY, dataset(grey, BitsStored=12), plain, "contradict"
    for keyword in ("BitsAllocated", "Rows", "Columns", "PhotometricInterpretation"):
        yield f"no {keyword}", GREY, dataset(grey, BitsStored=8, **{keyword: ""}), plain, keyword
    for slope in (b"0 ", b"NaN ", b"1e999 ", b"abc "):
        made, tag = dataset(grey, RescaleIntercept=0), pydicom.tag.Tag("RescaleSlope")
        made[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(slope), slope, 0, False, True)
        yield f"slope {slope!r}", GREY, made, plain, "RescaleSlope"
    for keyword in ("SamplesPerPixel", "PixelRepresentation", "BitsStored", "HighBit"):
        made = dataset(grey)
        setattr(made, keyword, None)
        yield f"empty {keyword}", GREY, made, plain, ""


@pytest.mark.parametrize("family", [of_grey, of_colour, of_compressed, of_contradictions])
def test_the_picture_comes_back(tmp_path: Path, family: Callable[[], Iterator[Case]], capfd) -> None:
    cases = ((name, picture, written(made, syntax), refused) for name, picture, made, syntax, refused in family())
    assert all_come_back(tmp_path / "a.dcm", cases) > 10
    assert capfd.readouterr() == ("", "")
