"""The size of an image, told without reading its pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from mammozoo.data.io.images import DICOM_SUFFIXES, UnreadableImageError


def image_shape(path: Path) -> tuple[int, int]:
    """(height, width) in pixels, from the header of a DICOM file or of a picture.

    Raises:
        UnreadableImageError: there is no such header.
    """
    try:
        if path.suffix.lower() not in DICOM_SUFFIXES:
            with Image.open(path) as image:
                return image.height, image.width
        import pydicom  # here, because most users never meet a DICOM file

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of each value that breaks the standard
            tags = ["Rows", "Columns"]
            header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(tags))
        return int(header.Rows), int(header.Columns)
    except Exception as error:  # damaged files raise nearly anything
        raise UnreadableImageError(
            f"'{path}' does not say how large its image is ({error or type(error).__name__}). Copy it again from its source."
        ) from error
