"""PNG, BMP, TIFF, JPEG, PGM and GIF → arrays: by Pillow, and colour of 16 bits, of which Pillow would keep 8, by OpenCV."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps

from mammozoo.data.io import jpeg
from mammozoo.data.io.libtiff import damage_told
from mammozoo.data.io.limits import MAX_PIXELS, UnreadableImageError, check_bytes, check_size, in_strips, unpacked_size

#: A closed list, because Pillow would also try formats that run other programs (EPS).
FORMATS = ("PNG", "BMP", "TIFF", "JPEG", "PPM", "GIF")
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 259, 262, 339  # tags of TIFF
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets and lengths in bytes
_WHITE_IS_ZERO, _SIGNED, _DEFLATED = 0, 2, (8, 32946)
_PNG = b"\x89PNG\r\n\x1a\n"
_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
_ROWS = 2**20  # pixels that are converted at once


def read_raster(name: str, handle: BinaryIO) -> npt.NDArray[Any]:
    """The picture in a file as (H, W) or (H, W, 3); uint8, uint16 or float32. Messages call the file `name`.

    Raises:
        UnreadableImageError: a size or kind of picture that mammozoo does not read, or a damaged JPEG.
        Exception: nearly any, from Pillow, for a damaged file.
    """
    check_bytes(name, handle.seek(0, os.SEEK_END), 5 * MAX_PIXELS)
    handle.seek(0)
    head, content = handle.read(len(_PNG)), b""
    handle.seek(0)
    if head == _PNG:
        _check_sums(memoryview(handle.read()))
    elif head.startswith(jpeg.START):
        jpeg.check_kind(content := handle.read(), name)
    handle.seek(0)
    with Image.open(handle, formats=FORMATS) as image:
        # The first picture of an MPO is the photograph; the others are for depth, or a second view.
        check_size(name, *image.size, 1 if image.format == "MPO" else getattr(image, "n_frames", 1))
        if image.format in ("JPEG", "MPO"):
            jpeg.check_stream(content, name)
        tags = _tags(image)
        if tags is not None and tags.get(_COMPRESSION) in _DEFLATED:
            _check_strips(tags, handle)
        if _is_deep_colour(image):
            return _deep_colour(image, handle, name)
        # Numbers of libtiff are native, and Pillow would swap their bytes.
        if image.tile and image.tile[0].codec_name == "libtiff":
            arguments: Any = image.tile[0].args
            image.tile = [image.tile[0]._replace(args=(_NATIVE.get(arguments[0], arguments[0]), *arguments[1:]))]
        with damage_told():
            image.load()
        pixels = array_of(ImageOps.exif_transpose(image))
        return pixels if tags is None else _by_tags(pixels, tags)


def _check_sums(png: memoryview) -> None:
    """Raise OSError if a critical chunk of a PNG does not have its checksum: Pillow stops when the picture is full."""
    place, kind = len(_PNG), b""
    while place + 12 <= len(png) and kind != b"IEND":
        kind, end = bytes(png[place + 4 : place + 8]), place + 8 + int.from_bytes(png[place : place + 4])
        if not kind[0] & 0x20 and zlib.crc32(png[place + 4 : end]) != int.from_bytes(png[end : end + 4]):
            raise OSError(f"the checksum of its part {kind!r} is wrong")
        place = end + 4


def _check_strips(tags: Any, handle: BinaryIO) -> None:
    """Raise zlib.error if the checksum of a deflated strip or tile is wrong: libtiff does not always look."""
    offsets, lengths = (tags.get(tag, ()) for tag in (_TILES if _TILES[0] in tags else _STRIPS))
    for offset, length in zip(offsets, lengths, strict=False):
        handle.seek(offset)
        unpacked_size(handle.read(length), 8 * MAX_PIXELS)


def unknown_kind(handle: BinaryIO) -> str | None:
    """In words, the kind of pixels of a TIFF that Pillow does not know; None for other files."""
    from PIL import TiffImagePlugin  # here, because few commands need it

    handle.seek(0)
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(handle.read(8))
        handle.seek(tags.next)
        tags.load(handle)
        bits, form = tags[_BITS], tags.get(_SAMPLE_FORMAT, (1,))
    except Exception:  # not a TIFF, or a damaged one
        return None
    form = {1: "unsigned", 2: "signed", 3: "float"}.get(form[0], f"sample format {form[0]}")
    return (
        f"TIFF of {len(bits)} x {bits[0]} bits, {form}, with photometric interpretation {tags.get(_PHOTOMETRIC)} "
        f"and compression {tags.get(_COMPRESSION, 1)}"
    )


def array_of(image: Image.Image) -> npt.NDArray[Any]:
    """A decoded Pillow image as (H, W) or (H, W, 3); uint8, uint16 or float32. Transparent pixels are laid over black.

    Transparency of all pixels is none: the fourth byte of many bitmaps is not in use.
    """
    if image.mode.startswith("I") or image.mode == "F":
        values = _converted(image, lambda strip: strip)
        if image.mode == "I":  # 32 bits; Pillow uses it for 16-bit PGM too
            deep = values.min() < 0 or values.max() > np.iinfo(np.uint16).max
            return values.astype(np.float32 if deep else np.uint16)
        if isinstance(clear := image.info.get("transparency"), int):
            values[values == clear] = 0
        return values.astype(np.float32 if image.mode == "F" else np.uint16, copy=False)
    if image.mode == "La":  # already laid over black
        return _converted(image, lambda strip: strip.getchannel(0))
    if image.has_transparency_data:
        alpha = _converted(image, lambda strip: strip.convert("RGBA").getchannel("A"))
        if alpha.any() and alpha.min() < 255:
            return _converted(image, _over_black)
    return _converted(image, lambda strip: strip.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def _over_black(strip: Image.Image) -> Image.Image:
    colour = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour).convert("RGB")


def _converted(image: Image.Image, change: Callable[[Image.Image], Image.Image]) -> npt.NDArray[Any]:
    """`change` of an image, some rows at a time: conversions take several times the memory of their image."""
    width, height = image.size
    rows = max(1, _ROWS // width)
    strips = (image.crop((0, top, width, min(top + rows, height))) for top in range(0, height, rows))
    first = np.asarray(change(next(strips)))
    result = np.empty((height, *first.shape[1:]), first.dtype)
    result[: len(first)] = first
    for number, strip in enumerate(strips, 1):
        result[number * rows : (number + 1) * rows] = np.asarray(change(strip))
    return result


def _tags(image: ImageFile.ImageFile) -> Any:
    """The tags of a TIFF; None for any other picture."""
    return getattr(image, "tag_v2", None)


def _by_tags(pixels: npt.NDArray[Any], tags: Any) -> npt.NDArray[Any]:
    """What Pillow leaves out for a TIFF: sign and range of its numbers, and white as zero beyond 8 bits."""
    signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    if pixels.dtype == np.uint8 and signed:
        return pixels.view(np.int8).astype(np.float32)
    if pixels.dtype == np.float32 and tags.get(_BITS) == (32,) and not signed and 1 in tags.get(_SAMPLE_FORMAT, (1,)):
        pixels = np.where(pixels < 0, pixels + np.float32(2**32), pixels)
    if pixels.dtype != np.uint8 and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return np.iinfo(pixels.dtype).max - pixels if pixels.dtype == np.uint16 else -pixels
    return pixels


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether a file that is not decoded yet holds colour, or grey and transparency, of more than 8 bits."""
    if image.mode not in ("RGB", "RGBA", "CMYK") or not image.tile:
        return False
    if (tags := _tags(image)) is not None:
        return bool(max(tags.get(_BITS, (1,))) > 8)
    arguments = image.tile[0].args
    return ";16" in str(arguments) or (
        image.format == "PPM" and isinstance(arguments, tuple) and int(arguments[1]) > 255
    )


def _deep_colour(image: ImageFile.ImageFile, handle: BinaryIO, name: str) -> npt.NDArray[np.uint16]:
    """(H, W, 3) uint16. Pillow decodes as well: it recognises damage, and its bits have to be the upper half of OpenCV's."""
    import cv2  # here, because few files need it

    check_size(name, image.width, 2 * image.height)
    handle.seek(0)
    content = np.frombuffer(handle.read(), np.uint8)
    unusual = f"{name} holds colour of 16 bits in a form that mammozoo does not read. Save it as a plain PNG or TIFF."
    try:
        image.load()
    except ValueError:
        raise UnreadableImageError(unusual) from None
    height, step = image.height, max(1, image.height // 64)
    upper = np.concatenate([np.asarray(image.crop((0, y, image.width, y + 1))) for y in range(0, height, step)])
    orientation = 1 if image.format == "TIFF" else image.getexif().get(0x0112, 1)
    known = image.format != "PPM"  # there Pillow applies the file's maximum
    image.close()  # its memory is needed
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    pixels: Any = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    log.setLogLevel(level)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or len(pixels) != height:
        raise UnreadableImageError(unusual)
    if known and not np.array_equal(pixels[::step, :, 2::-1] >> 8, upper[..., :3]):
        raise UnreadableImageError(unusual)
    if pixels.shape[2] == 4 and pixels[..., 3].any():
        pixels = in_strips(lambda part: np.rint(part[..., :3] * (part[..., 3:] / 65535.0)).astype(np.uint16), pixels)
    return _turned(pixels[..., 2::-1], orientation)


def _turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Pixels as the EXIF tag of that name says: 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::down, ::across]


def decode_jpeg_frame(frame: bytes, header_is_rgb: bool) -> npt.NDArray[np.uint8]:
    """(H, W) or (H, W, 3) RGB of a JPEG in a DICOM file; the stream tells its colour space, the header only if it does not."""
    with Image.open(io.BytesIO(frame), formats=("JPEG",)) as image:
        names = [part[0] for part in getattr(image, "layer", [])]
        tells = "jfif" in image.info or "adobe_transform" in image.info or bytes(names) in (b"RGB", b"rgb")
        if image.mode == "RGB" and header_is_rgb and not tells:
            image.draft("YCbCr", image.size)  # no conversion
        return np.asarray(image if image.mode in ("L", "YCbCr") else image.convert("RGB"))
