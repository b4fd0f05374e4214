"""One image, in a file or in memory → one array. A file that cannot be read completely is refused, with the reason.

The array is (H, W) for grey and (H, W, 3) for RGB, in the depth in which the file stores it:

    PNG, BMP, TIFF, JPEG, PGM, GIF   8 bit → uint8, 16 bit → uint16, float → float32
    DICOM                            up to 8 bits → uint8, more → uint16, as the file asks to be displayed

Numbers with a sign, and 32-bit ones, are float32. A colour file with three equal channels becomes grey: many ultrasound sets
store grey images that way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mammozoo.data.io.dicom import DICOM_SUFFIXES, is_dicom, read_dicom, read_header
from mammozoo.data.io.dicom_frames import split_frame
from mammozoo.data.io.limits import MAX_PIXELS, UnreadableImageError, check_size, in_strips
from mammozoo.data.io.quiet import quiet
from mammozoo.data.io.raster import FORMATS, array_of, read_raster, unknown_kind
from mammozoo.data.io.regions import labelled
from mammozoo.errors import MammozooError, NotFoundError, UsageError

IMAGE_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".pgm", ".gif"}) | DICOM_SUFFIXES

#: Modes of Pillow that a PNG or TIFF file holds.
_LOSSLESS = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"))
_SPAN = (1e-30, 1e30)  # ranges of float pixels that can be stretched to 8 bits in 32-bit float
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def read_image(path: Path) -> npt.NDArray[Any]:
    """The image in `path` as (H, W) grey or (H, W, 3) RGB; uint8, uint16 or float32.

    Palettes and CMYK become RGB, 1-bit images 0 and 255. Transparent pixels are laid over black, the
    background of an ultrasound screen. EXIF orientation is applied, and so is the sense of a TIFF whose 0 is white.
    DICOM: modality and VOI tables are applied, MONOCHROME1 is inverted, padding is black; `FILE#frame` names one of several.

    Raises:
        NotFoundError: there is no such file.
        UnreadableImageError: a folder, an empty or truncated file, no permission, not an image, several frames,
            more than `MAX_PIXELS`, a side below `MIN_SIDE`, or a compression whose decoder is missing.
    """
    given, (path, frame) = path, split_frame(path)
    try:
        if not path.exists():
            raise NotFoundError(f"There is no file '{given}'.")
        if not path.is_file():  # reading from a pipe or a device could block for ever
            raise UnreadableImageError(f"'{path}' is a folder or not a regular file. Name one image file.")
        handle = path.open("rb")
    except OSError as error:
        raise UnreadableImageError(f"Cannot open '{path}': {error.strerror}. Check its permissions.") from error
    with handle, quiet():  # about large images and odd tags, which are refused or read
        head = handle.read(132)
        if not head:
            raise UnreadableImageError(f"'{path}' is empty (0 bytes). Copy it again from its source.")
        handle.seek(0)
        try:
            name = f"'{path}'"
            pixels = read_dicom(name, handle, frame) if is_dicom(path, head) else read_raster(name, handle)
        except MammozooError:
            raise
        except Exception as error:  # a decoder raises nearly any exception for a damaged file
            why = " ".join(str(error).split()) or type(error).__name__
            reason = f"is truncated or damaged, or not what its header says ({why}). Copy it again from its source."
            if isinstance(error, UnidentifiedImageError):
                reason = "is not an image that mammozoo reads (PNG, BMP, TIFF, JPEG, PGM, GIF, DICOM), or its header is damaged."
                if kind := unknown_kind(handle):
                    reason = (
                        f"is a {kind}, which mammozoo does not read. Save it as grey of 8 or 16 bits, or 32-bit float."
                    )
            elif isinstance(error, Image.DecompressionBombError):
                reason = (
                    f"states a size far above the {MAX_PIXELS // 10**6} million pixels that mammozoo reads ({error}). "
                )
                reason += "Crop or shrink it first, or copy it again if it should be small."
            raise UnreadableImageError(f"'{path}' {reason}") from error
    return checked(pixels, f"'{path}'")


def image_from_memory(image: object, name: str) -> npt.NDArray[Any]:
    """The pixels of an image in memory, in a type that image files hold; messages call it `name`.

    With `checked` it is the array that `read_image` would give for a lossless file of this image. It is (H, W) or (H, W, 1)
    uint8, uint16, bool or float, (H, W, 3) uint8 or uint16 RGB, or a Pillow image; UsageError for anything else.
    """
    if isinstance(image, Image.Image):
        if image.mode not in _LOSSLESS:
            raise UsageError(f"{name} has Pillow's mode '{image.mode}'. Convert it first: image.convert('RGB') or 'L'.")
        try:
            return array_of(ImageOps.exif_transpose(image))
        except OSError as error:  # Pillow decodes as late as here
            raise UsageError(f"{name} cannot be decoded ({error}).") from error
    if not isinstance(image, np.ndarray):
        say = "Give a path, a NumPy array or a Pillow image (of a tensor its .numpy())."
        raise UsageError(f"{name} is a {type(image).__name__}. {say}")
    pixels = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if pixels.size and pixels.ndim == 2:
        if pixels.dtype == np.bool_:
            return pixels.astype(np.uint8) * 255
        if pixels.dtype in (np.uint8, np.uint16):
            return pixels
        if np.issubdtype(pixels.dtype, np.floating):
            return pixels.astype(np.float32)
    if pixels.size and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype in (np.uint8, np.uint16):
        return pixels
    shape = " x ".join(map(str, pixels.shape)) or "no axis"
    raise UsageError(
        f"{name} is an array of {shape}, {pixels.dtype}. An image is (H, W) uint8, uint16, bool or float, or "
        "(H, W, 3) uint8 or uint16. "
        "Of a stack give list(stack)."
    )


def checked(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The pixels as a contiguous array, grey if all channels are equal; messages call the image `name`.

    Raises:
        UnreadableImageError: a size that mammozoo does not read, a value that is not finite, or a range that no picture has.
    """
    check_size(name, pixels.shape[1], pixels.shape[0])
    if pixels.dtype == np.float32:
        if not np.isfinite(pixels).all():
            raise UnreadableImageError(f"{name} holds pixels that are not finite numbers (NaN or infinity).")
        if (span := float(pixels.max()) - float(pixels.min())) and not _SPAN[0] < span < _SPAN[1]:
            raise UnreadableImageError(
                f"{name} holds pixels over a range of {span:.0e}, which no picture has. Rescale them."
            )
    if pixels.ndim == 3 and in_strips(lambda part: (part == part[..., :1]).all(axis=(1, 2)), pixels).all():
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels)


def image_shape(path: Path) -> tuple[int, int]:
    """(height, width) in pixels from the header of an image file, without reading pixels.

    Raises:
        UnreadableImageError: there is no such header.
    """
    try:
        if (header := read_header(path, "Rows", "Columns")) is not None:
            return int(header.Rows), int(header.Columns)
        with quiet(), Image.open(path, formats=FORMATS) as image:
            return image.height, image.width
    except Exception as error:
        reason = f"does not state the size of its image ({str(error) or type(error).__name__})"
        raise UnreadableImageError(f"'{path}' {reason}. Copy it again from its source.") from error


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """The mask in `path` as (H, W) booleans: True for every label of it, see `labelled`; an all-black mask is all False.

    Raises:
        NotFoundError, UnreadableImageError: as `read_image`.
    """
    pixels = read_image(path)
    return labelled(pixels.max(axis=2) if pixels.ndim == 3 else pixels)


def to_uint8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The image with 8 bits; uint8 is returned as it is.

    A deeper image is stretched so that its minimum becomes 0 and its maximum 255: otherwise the 12 bits of a
    mammogram stored in 16 would be nearly black. A constant image becomes 0.
    """
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return in_strips(lambda part: np.rint((part.astype(np.float32) - low) * scale).astype(np.uint8), array)


def to_channels(array: npt.NDArray[Any], channels: int) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) as (H, W, `channels`), same dtype; `channels` is 1 (BT.601 luma) or 3 (RGB)."""
    if array.ndim == 2:
        return np.repeat(array[..., None], channels, axis=2)
    if channels == array.shape[2]:
        return array

    def luma(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        grey = part.astype(np.float32) @ _LUMA
        return (np.rint(grey) if np.issubdtype(array.dtype, np.integer) else grey).astype(array.dtype)[..., None]

    return in_strips(luma, array)
