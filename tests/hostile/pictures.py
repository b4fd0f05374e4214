"""Image files of every format with mistakes in their headers, their tags and their bytes."""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from ..data.io import writers
from ..data.io.dicom_writer import NATIVE, dataset, written
from .spoil import RAW, WHOLE_NUMBERS, damaged

GREY = np.rint(127 * np.sin(np.add.outer(np.arange(48) ** 1.3, np.arange(40) ** 1.2) / 99) + 128).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], 255 - GREY])
#: (options of Pillow, modes) of the files that it writes.
SAVED = [
    ({"format": "PNG"}, ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")), ({"format": "BMP"}, ("1", "L", "P", "RGB", "RGBA")),
    ({"format": "GIF"}, ("1", "L", "P", "RGB")), ({"format": "PPM"}, ("1", "L", "RGB", "I;16")),
    ({"format": "JPEG"}, ("L", "RGB", "CMYK")), ({"format": "JPEG", "progressive": True}, ("L", "RGB")),
    ({"format": "JPEG", "restart_marker_blocks": 2}, ("L", "RGB")), ({"format": "JPEG2000"}, ("L", "RGB", "I;16")),
    *(({"format": "TIFF", "compression": c}, ("1", "L", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"))
      for c in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")),
    ({"format": "TIFF", "compression": "jpeg"}, ("L", "RGB")), ({"format": "TIFF", "compression": "group4"}, ("1",)),
    ({"format": "WEBP"}, ("RGB",)),
]  # fmt: skip
SUFFIXES = (".png", ".bmp", ".tif", ".jpg", ".pgm", ".gif", ".dcm", "")


def picture(rng: random.Random) -> tuple[str, bytes]:
    """(suffix, content) of a hostile file."""
    if rng.random() < 0.04:
        return rng.choice(SUFFIXES), rng.choice(RAW).encode("utf-8", "surrogatepass")
    if rng.random() < 0.45:
        suffix, content = ".dcm", _dicom(rng)
    else:
        suffix, content = _raster(rng)
    if rng.random() < 0.55:
        content = damaged(content, rng)
    if rng.random() < 0.1:
        content = content[: rng.randrange(len(content) + 1)]
    return rng.choice(SUFFIXES) if rng.random() < 0.1 else suffix, content


def _saved(rng: random.Random) -> tuple[str, bytes]:
    options, modes = rng.choice(SAVED)
    mode = rng.choice(modes)
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(GREY.astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]) * 100)
    else:
        image = Image.fromarray(COLOUR).convert(mode)
    buffer = io.BytesIO()
    more = (
        {"append_images": [image], "save_all": True}
        if rng.random() < 0.05 and options["format"] in ("GIF", "TIFF")
        else {}
    )
    if rng.random() < 0.1 and options["format"] in ("PNG", "JPEG"):
        exif = Image.Exif()
        exif[0x0112] = rng.choice(WHOLE_NUMBERS[:20])
        more["exif"] = exif
    image.save(buffer, **{key: value for key, value in options.items() if value is not None}, **more)
    suffix = {"PNG": ".png", "TIFF": ".tif", "JPEG": ".jpg", "PPM": ".pgm"}.get(
        options["format"], "." + options["format"].lower()
    )
    return suffix, buffer.getvalue()


def _raster(rng: random.Random) -> tuple[str, bytes]:
    chance = rng.random()
    if chance < 0.2:  # any two sizes, depths and kinds of a PNG, with right checksums
        suffix, content = _saved(random.Random(rng.choice("abcdefgh")))
        if content.startswith(b"\x89PNG"):
            head = struct.pack(">IIBBBBB", rng.choice(WHOLE_NUMBERS), rng.choice((48, *WHOLE_NUMBERS)), rng.choice((1, 2,
            4, 8, 16, 3)),
                               rng.choice((0, 2, 3, 4, 6, 7)), rng.choice((0, 0, 1)), 0, rng.choice((0, 1, 2)))  # fmt: skip
            content = content[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + content[33:]
        return suffix, content
    if chance < 0.45:
        pixels = rng.choice((GREY, COLOUR)).astype(rng.choice(("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")))
        if pixels.dtype.kind == "f" and rng.random() < 0.5:
            pixels[3, 4] = rng.choice((np.nan, np.inf, -np.inf, 3e38))
        content = writers.tiff(
            pixels, rng.choice((0, 1, 2, 3, 5, 6, 8, 32803)), order=rng.choice("<>"), compression=rng.choice((1, 8, 32773)),
            orientation=rng.choice((1, 6, 0, 9, 65535)), extra=rng.choice((None, 0, 1, 2)),
        )  # fmt: skip
        return ".tif", _other_tag(content, rng) if rng.random() < 0.6 else content
    if chance < 0.55:
        most = rng.choice((0, 1, 2, 255, 256, 65535, 65536, 10**9))
        return ".pgm", writers.netpbm(
            rng.choice((GREY, COLOUR)), rng.choice(("P1", "P2", "P3", "P4", "P5", "P6", "P7", "Pf")), most
        )
    return _saved(rng)


def _other_tag(tiff: bytes, rng: random.Random) -> bytes:
    """A directory entry of a TIFF gets another tag, type, count or value."""
    order = "<" if tiff[:2] == b"II" else ">"
    (count,) = struct.unpack_from(order + "H", tiff, 8)
    place = 10 + 12 * rng.randrange(count) + rng.choice((0, 2, 4, 8, 8, 8))
    size = "H" if place % 12 in (10, 0) else "I"
    number = rng.choice(WHOLE_NUMBERS) % (65536 if size == "H" else 2**32)
    return tiff[:place] + struct.pack(order + size, number) + tiff[place + struct.calcsize(size) :]


#: Elements of a picture that may have another value: tag → VR.
ELEMENTS = {
    0x00080005: "CS", 0x00080060: "CS", 0x00080068: "CS", 0x00280002: "US", 0x00280004: "CS", 0x00280006: "US",
    0x00280008: "IS",
    0x00280010: "US", 0x00280011: "US", 0x00280034: "IS", 0x00280100: "US", 0x00280101: "US", 0x00280102: "US",
    0x00280103: "US",
    0x00280106: "US", 0x00280120: "US", 0x00280121: "US", 0x00281050: "DS", 0x00281051: "DS", 0x00281052: "DS",
    0x00281053: "DS",
    0x00281056: "CS", 0x00281101: "US", 0x00281102: "US", 0x00281103: "US", 0x00281201: "OW", 0x00281202: "OW",
    0x00281203: "OW",
    0x00283000: "SQ", 0x00283010: "SQ", 0x60000010: "US", 0x60003000: "OW", 0x7FE00008: "OF", 0x7FE00010: "OW",
}  # fmt: skip
TEXTS = [b"", b" ", b"0", b"1", b"-1", b"nan ", b"inf ", b"1e400 ", b"1e-320", b"1\\2", b"\\", b"x ", b"0x10", b"3\0",
b"MONOCHROME1", b"RGB ",
         b"PALETTE COLOR ", b"YBR_FULL_422", b"SIGMOID ", b"LINEAR_EXACT", b"ISO_IR 100", b"ISO 2022 IR 87", b"\xff\xfe",
         b"9" * 40]  # fmt: skip
SYNTAXES = {"1.2.840.10008.1.2.1": b"", "1.2.840.10008.1.2.4.50": b"JPEG", "1.2.840.10008.1.2.4.90": b"JPEG2000",
            "1.2.840.10008.1.2.4.57": b"JPEG", "1.2.840.10008.1.2.4.80": b"JPEG", "1.2.3": b""}  # fmt: skip


def _element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    long = vr in ("OB", "OW", "OF", "SQ", "UN", "UT")
    end = struct.pack("<HI", 0, length % 2**32) if long else struct.pack("<H", length % 2**16)
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + end + value


def _value(vr: str, rng: random.Random) -> bytes:
    if vr == "US":
        return b"".join(
            struct.pack("<H", rng.choice(WHOLE_NUMBERS) % 65536) for _ in range(rng.choice((1, 1, 1, 0, 2, 3)))
        )
    if vr == "SQ":
        item = _element(0x00283002, "US", _value("US", rng) + struct.pack("<HH", 0, 16)) + _element(
            0x00283006, "OW", _value("OW", rng)
        )
        depth = rng.choice((1, 1, 1, 2, 60, 1200))
        for _ in range(depth):
            item = struct.pack("<HHI", 0xFFFE, 0xE000, len(item) if rng.random() < 0.9 else 0xFFFFFFFF) + item
            item = _element(0x00283000, "SQ", item) if depth > 1 else item
        return item
    return rng.choice(TEXTS) if vr in ("CS", "IS", "DS") else rng.randbytes(rng.choice((0, 1, 2, 6, 512, 513, 6000)))


def _dicom(rng: random.Random) -> bytes:
    """A sound picture in one of many syntaxes; most have elements with other values, other types or lengths."""
    pixels = (GREY if rng.random() < 0.7 else COLOUR).astype(rng.choice(("u1", "u2", "i2", "u4")))
    if rng.random() < 0.3:
        if rng.random() < 0.2:
            made = dataset(pixels.astype("u1"), PhotometricInterpretation="MONOCHROME2" if pixels.ndim == 2 else "RGB")
            made.file_meta = FileMetaDataset()
            made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            made.compress(RLELossless, generate_instance_uid=False)
            return written(made, RLELossless)
        syntax = rng.choice(NATIVE)
        return written(dataset(pixels, syntax), syntax)
    syntax, coded = rng.choice(list(SYNTAXES.items()))
    data = pixels.tobytes()
    if coded:
        pixels, buffer = pixels.astype("u1"), io.BytesIO()
        Image.fromarray(pixels).save(buffer, coded.decode())
        frames = [
            damaged(buffer.getvalue(), rng) if rng.random() < 0.3 else buffer.getvalue()
            for _ in range(rng.choice((1, 1, 1, 0, 2)))
        ]
        data = encapsulate(frames) if frames else b""
    bits, short = pixels.dtype.itemsize * 8, "<H"
    elements = {
        0x00080060: ("CS", b"MG"), 0x00280002: ("US", struct.pack(short, pixels.shape[2] if pixels.ndim == 3 else 1)),
        0x00280004: ("CS", b"RGB " if pixels.ndim == 3 else b"MONOCHROME2 "), 0x00280006: ("US", b"\0\0"),
        0x00280010: ("US", struct.pack(short, 48)), 0x00280011: ("US", struct.pack(short, 40)),
        0x00280100: ("US", struct.pack(short, bits)), 0x00280101: ("US", struct.pack(short, bits)),
        0x00280102: ("US", struct.pack(short, bits - 1)), 0x00280103: ("US", struct.pack(short,
        int(pixels.dtype.kind == "i"))),
        0x7FE00010: ("OB" if coded else "OW", data),
    }  # fmt: skip
    for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
        tag = rng.choice(list(ELEMENTS))
        vr = ELEMENTS[tag]
        if rng.random() < 0.1:
            elements.pop(tag, None)
        else:
            elements[tag] = (rng.choice((vr, vr, vr, vr, "UN", "LO", "DS")), _value(vr, rng))
    meta = _element(0x00020010, "UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    body = b"".join(
        _element(tag, vr, value, 0xFFFFFFFF if (coded and tag == 0x7FE00010) or rng.random() < 0.005 else None)
        for tag, (vr, value) in sorted(elements.items())
    )
    return bytes(128) + b"DICM" + _element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + body
