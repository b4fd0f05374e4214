"""An image in memory → the array that its file would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mammozoo.data.io.images import pil_to_array
from mammozoo.errors import UsageError

#: Modes of Pillow that a lossless file (PNG or TIFF) holds.
_LOSSLESS = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"})


def image_from_memory(image: object, name: str) -> npt.NDArray[Any]:
    """The pixels of an image in memory, in a type that image files hold; messages call it `name`.

    With `checked` it is the array that `read_image` would give for a lossless file of this image.

    Args:
        image: (H, W) uint8, uint16, bool or float; (H, W, 1) the same; (H, W, 3) uint8 RGB; or a Pillow image.

    Raises:
        UsageError: another type, shape or mode, or a Pillow image that cannot be decoded.
    """
    if isinstance(image, Image.Image):
        if image.mode not in _LOSSLESS:
            raise UsageError(f"{name} has Pillow's mode '{image.mode}'. Convert it first: image.convert('RGB') or 'L'.")
        try:
            return pil_to_array(ImageOps.exif_transpose(image))
        except OSError as error:  # Pillow decodes as late as here
            raise UsageError(f"{name} cannot be decoded ({error}).") from error
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise UsageError(
            f"{name} is a {kind}. Give a path, a NumPy array or a Pillow image (of a tensor its .numpy())."
        )
    pixels = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if pixels.size and pixels.ndim == 2:
        if pixels.dtype == np.bool_:
            return pixels.astype(np.uint8) * 255
        if pixels.dtype in (np.uint8, np.uint16):
            return pixels
        if np.issubdtype(pixels.dtype, np.floating):
            return pixels.astype(np.float32)
    if pixels.size and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        return pixels
    shape = " x ".join(map(str, pixels.shape)) or "no axis"
    raise UsageError(
        f"{name} is an array of {shape}, {pixels.dtype}. An image is (H, W) uint8, uint16, bool or float, or (H, W, 3) uint8. "
        "Of a stack give list(stack)."
    )
