"""One image file → one array. Whatever cannot be read whole is refused, with the reason.

What comes out is (H, W) for grey and (H, W, 3) for RGB, in the depth in which the file stores it:

    PNG, BMP, TIFF, JPEG, PGM, GIF   8 bit → uint8, 16 bit → uint16, float → float32
    DICOM                            up to 8 bits → uint8, more → uint16, as the file asks to be displayed

A colour file whose three channels are equal comes out grey: many ultrasound sets store grey that way.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mammozoo.errors import MammozooError, NotFoundError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".pgm", ".gif"}) | DICOM_SUFFIXES

#: Largest image, in pixels. Asked of the header, before any memory is taken.
MAX_PIXELS = 100_000_000
#: Shortest side, in pixels. Nothing below holds a lesion; it is an icon or a damaged header.
MIN_SIDE = 16

# Named, because Pillow would otherwise also try formats that call other programs (EPS).
_PIL_FORMATS = ("PNG", "BMP", "TIFF", "JPEG", "PPM", "GIF")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


class UnreadableImageError(MammozooError):
    """A file is there, and no image comes out of it."""


def read_image(path: Path) -> npt.NDArray[Any]:
    """The image in `path` as (H, W) grey or (H, W, 3) RGB; uint8, uint16 or float32.

    Palettes and CMYK become RGB, 1-bit images 0 and 255. Transparent pixels are laid over black, the
    background of an ultrasound screen. EXIF orientation is applied. Colour of 16 bits a channel comes out
    with 8, since Pillow reads it so. DICOM: modality and VOI tables are applied, MONOCHROME1 is inverted, padding is black.

    Raises:
        NotFoundError: there is no such file.
        UnreadableImageError: a folder, an empty or truncated file, no permission, no image, several frames,
            more than `MAX_PIXELS`, a side below `MIN_SIDE`, or a compression whose decoder is missing.
    """
    with _opened(path) as handle:
        head = handle.read(132)
        if not head:
            raise UnreadableImageError(f"'{path}' is empty (0 bytes). Copy it again from its source.")
        handle.seek(0)
        is_dicom = head[128:] == b"DICM" or path.suffix.lower() in DICOM_SUFFIXES
        return checked(_read_dicom(path, handle) if is_dicom else _read_pil(path, handle), f"'{path}'")


def checked(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The pixels as a contiguous array, grey if all channels are equal.

    Raises:
        UnreadableImageError: a size that mammozoo does not read, or a value that is not finite.
    """
    _check_size(name, pixels.shape[1], pixels.shape[0])
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        raise UnreadableImageError(f"{name} holds pixels that are not finite numbers (NaN or infinity).")
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """The mask in `path` as (H, W) booleans: True above half of its own maximum, so all black is all False.

    Half, and not "anything above zero", because masks saved as JPEG have grey noise around the lesion.

    Raises:
        NotFoundError, UnreadableImageError: as `read_image`.
    """
    pixels = read_image(path)
    if pixels.ndim == 3:
        pixels = pixels.max(axis=2)
    return pixels > float(pixels.max()) / 2


def read_modality(path: Path) -> str | None:
    """What a DICOM file says it is ("US", "MG" …), without reading pixels; None for other formats or on failure."""
    return _header_value(path, "Modality")


def is_for_processing(path: Path) -> bool:
    """Whether a DICOM file says that its pixels are the detector's, not made for looking at ("FOR PROCESSING")."""
    return _header_value(path, "PresentationIntentType") == "FOR PROCESSING"


def to_uint8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The image with 8 bits. uint8 is left as it is.

    Anything deeper is stretched so that its own minimum becomes 0 and its maximum 255: 12 bits of a
    mammogram stored in 16 would otherwise come out nearly black. A constant image becomes 0.
    """
    if array.dtype == np.uint8:
        return array
    values = array.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)


def to_channels(array: npt.NDArray[Any], channels: int) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) as (H, W, `channels`), same dtype; `channels` is 1 (BT.601 luma) or 3 (RGB)."""
    if array.ndim == 2:
        return np.repeat(array[..., None], channels, axis=2)
    if channels == array.shape[2]:
        return array
    luma = array.astype(np.float32) @ _LUMA
    return (np.rint(luma) if np.issubdtype(array.dtype, np.integer) else luma).astype(array.dtype)[..., None]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """`path` opened for reading, with the file system's refusals in our words."""
    if path.is_dir():
        raise UnreadableImageError(f"'{path}' is a folder, not an image. Name one file in it.")
    try:
        # A pipe or a device would block for ever.
        if path.exists() and not path.is_file():
            raise UnreadableImageError(f"'{path}' is not a regular file. Copy the image to one.")
        handle = path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file '{path}'.") from error
    except OSError as error:
        raise UnreadableImageError(f"Cannot open '{path}': {error.strerror}. Check its permissions.") from error
    with handle:
        yield handle


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"{name} has {width} x {height} pixels; mammozoo reads up to {MAX_PIXELS // 10**6} million. "
            "Crop or shrink it first."
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(
            f"{name} has {width} x {height} pixels; an image needs at least {MIN_SIDE} on each side."
        )


def _check_frames(path: Path, frames: int) -> None:
    if frames > 1:
        raise UnreadableImageError(
            f"'{path}' holds {frames} frames; mammozoo reads single images. Export the frame you mean as PNG."
        )


# ---------------------------------------------------------------- PNG, BMP, TIFF, JPEG, PGM, GIF


def _read_pil(path: Path, handle: BinaryIO) -> npt.NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images and odd tags; we refuse or read
        try:
            with Image.open(handle, formats=_PIL_FORMATS) as image:
                _check_size(f"'{path}'", *image.size)
                _check_frames(path, getattr(image, "n_frames", 1))
                image.load()
                return pil_to_array(ImageOps.exif_transpose(image))
        except MammozooError:
            raise
        except UnidentifiedImageError as error:
            raise UnreadableImageError(
                f"'{path}' is not an image that mammozoo reads (PNG, BMP, TIFF, JPEG, PGM, GIF, DICOM), "
                "or its header is damaged."
            ) from error
        except Image.DecompressionBombError as error:
            raise UnreadableImageError(
                f"'{path}' states a size far above the {MAX_PIXELS // 10**6} million pixels that mammozoo "
                f"reads ({error}). Crop or shrink it first, or copy it again if it should be small."
            ) from error
        except Exception as error:  # a decoder that meets a damaged file raises nearly anything
            raise UnreadableImageError(
                f"'{path}' is truncated or damaged ({error or type(error).__name__}). Copy it again from its source."
            ) from error


def pil_to_array(image: Image.Image) -> npt.NDArray[Any]:
    """A decoded Pillow image as (H, W) or (H, W, 3); uint8, uint16 or float32. Transparent pixels are laid over black."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":  # 32 bits; Pillow's container for 16-bit PGM too
        values = np.asarray(image)
        deep = values.min() < 0 or values.max() > np.iinfo(np.uint16).max
        return values.astype(np.float32 if deep else np.uint16)
    if image.mode == "F":
        return np.asarray(image, dtype=np.float32)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        black = Image.new("RGBA", colour.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, colour).convert("RGB"))
    return np.asarray(image.convert("RGB"))


# ---------------------------------------------------------------- DICOM


def _read_dicom(path: Path, handle: BinaryIO) -> npt.NDArray[Any]:
    import pydicom  # here, because most users never meet a DICOM file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of each value that breaks the standard
        try:
            dataset = pydicom.dcmread(handle, force=True)
            if "Rows" not in dataset or "PixelData" not in dataset:
                raise UnreadableImageError(
                    f"'{path}' is named or marked as DICOM and holds no pixel data: a report, a truncated "
                    "file, or something else under that name."
                )
            _check_size(f"'{path}'", int(dataset.Columns), int(dataset.Rows))
            _check_frames(path, int(dataset.get("NumberOfFrames") or 1))
            _check_decoder(path, dataset)
            return _dicom_to_array(dataset)
        except MammozooError:
            raise
        except Exception as error:  # as for Pillow: damaged files raise nearly anything
            raise UnreadableImageError(
                f"'{path}' is no DICOM image, or is truncated or damaged ({error or type(error).__name__}). "
                "Copy it again from its source."
            ) from error


def _header_value(path: Path, keyword: str) -> str | None:
    """One text of a DICOM header (PS3.6 keyword), in capitals; None where there is none."""
    try:
        with path.open("rb") as handle:
            if handle.read(132)[128:] != b"DICM" and path.suffix.lower() not in DICOM_SUFFIXES:
                return None
            import pydicom

            handle.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = pydicom.dcmread(handle, force=True, stop_before_pixels=True, specific_tags=[keyword])
                return str(header.get(keyword) or "").strip().upper() or None
    except Exception:  # a damaged header says nothing; `read_image` tells why
        return None


def _check_decoder(path: Path, dataset: Any) -> None:
    """Compressed pixels need plug-ins of pydicom; say which of our extras brings them."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # the standard's default
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise UnreadableImageError(
            f"'{path}' is compressed ({syntax.name}) and no decoder for that is installed. "
            "Run: pip install 'mammozoo[dicom]'"
        )


def _dicom_to_array(dataset: Any) -> npt.NDArray[Any]:
    """Pixels as the file asks to be shown (DICOM PS3.3 C.7.6.3, C.11.1, C.11.2), in `BitsStored` bits."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    pixels = pixel_array(dataset)  # YBR comes out as RGB
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 3:
        return to_uint8(pixels)
    low, high = int(pixels.min()), int(pixels.max())
    if high - low > np.iinfo(np.uint16).max:
        return _shown(pixels, dataset)
    # What is shown hangs on the stored value alone, and there are far fewer values than pixels.
    table = _shown(np.arange(low, high + 1).astype(pixels.dtype), dataset)
    return table[pixels.astype(np.int32) - low]


def _shown(stored: npt.NDArray[Any], dataset: Any) -> npt.NDArray[Any]:
    """Grey levels in `BitsStored` bits of stored values, of any shape."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(np.float64)
    low, high = _display_range(dataset)
    unit = np.clip((values - low) / (high - low), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":  # white is the smallest value
        unit = 1 - unit
    unit[_padding(stored, dataset)] = 0
    dtype: type[np.uint8] | type[np.uint16] = np.uint8 if dataset.BitsStored <= 8 else np.uint16
    return np.rint(unit * (2 ** int(dataset.BitsStored) - 1)).astype(dtype)


def _padding(stored: npt.NDArray[Any], dataset: Any) -> npt.NDArray[np.bool_]:
    """Which stored values are no image: `PixelPaddingValue`, or from it to `PixelPaddingRangeLimit` (PS3.3 C.7.5.1.1.2)."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, np.bool_)
    last = dataset.get("PixelPaddingRangeLimit", first)
    return (stored >= min(first, last)) & (stored <= max(first, last))


def _display_range(dataset: Any) -> tuple[float, float]:
    """What black and white are after the tables: the file's range, not that of one image's content."""
    if tables := dataset.get("VOILUTSequence") or dataset.get("ModalityLUTSequence"):
        return 0.0, float(2 ** int(tables[0].LUTDescriptor[2]) - 1)
    bits = int(dataset.BitsStored)
    stored = np.array([0, 2**bits - 1]) - (2 ** (bits - 1) if dataset.PixelRepresentation else 0)
    ends = stored * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    return float(ends.min()), float(ends.max())
