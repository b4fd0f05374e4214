"""DICOM data sets of a picture, with any element, as bytes of any transfer syntax that can be written here."""

import io
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from .writers import Pixels

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
LUT, DATA = 0x00283002, 0x00283006


def dataset(
    pixels: Pixels, syntax: str = ExplicitVRLittleEndian, *elements: tuple[int, str, Any], **tags: Any
) -> Dataset:
    """A data set of numbers (H, W) or (H, W, C); a tag that is None is left out, `""` is empty."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if order == ">" and pixels.dtype.itemsize == 1:
        data = np.frombuffer(data, "u2").byteswap().tobytes()  # bytes in words
    bits = pixels.dtype.itemsize * 8
    rows, columns = pixels.shape[:2]
    own = {
        "SOPClassUID": SecondaryCaptureImageStorage, "SOPInstanceUID": "1.2.3", "Modality": "MG", "Rows": rows, "Columns": columns,
        "SamplesPerPixel": pixels.shape[2] if pixels.ndim == 3 else 1, "BitsAllocated": bits, "BitsStored": bits,
        "PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
        "PlanarConfiguration": 0 if pixels.ndim == 3 else None,
        "PixelRepresentation": int(pixels.dtype.kind == "i"), "PixelData": data,
    }  # fmt: skip
    made = Dataset()
    for keyword, value in (own | tags).items():
        if value is not None:
            setattr(made, keyword, None if value == "" else value)
    if "HighBit" not in tags:
        made.HighBit = made.BitsStored - 1
    for tag, vr, value in elements:
        made[tag] = DataElement(tag, vr, value)
    made["PixelData"].VR = "OW" if order == ">" or bits > 8 else "OB"
    return made


def written(made: Dataset, syntax: str) -> bytes:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, generate_uid()
    made["PixelData"].is_undefined_length = made.file_meta.TransferSyntaxUID.is_encapsulated
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, made, enforce_file_format=True)
    return buffer.getvalue()


def table(entries: Any, first: int = 0, bits: int = 16, words: bool = True) -> Sequence:
    item = Dataset()
    count = 0 if len(entries) == 65536 else len(entries)
    item[LUT] = DataElement(LUT, "US" if first >= 0 else "SS", [count, first, bits])
    values = [int(one) for one in entries]
    item[DATA] = (
        DataElement(DATA, "US", values) if words else DataElement(DATA, "OW", np.asarray(values, "<u2").tobytes())
    )
    return Sequence([item])
