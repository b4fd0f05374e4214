"""Mammograms as real DICOM files (Digital Mammography X-Ray Image, PS3.3 A.26), small."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

STORAGE = DigitalMammographyXRayImageStorageForPresentation


def write_dicom(path: Path, pixels: npt.NDArray[Any], **tags: Any) -> Path:
    """Grey or RGB pixels as a file; `tags` set whatever keyword of PS3.6 they name, and `syntax`. None leaves a tag out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = tags.pop("syntax", ExplicitVRLittleEndian), STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.as_posix()])
    colour = pixels.shape[-1] == 3
    own = {
        "SOPClassUID": STORAGE, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "MG", "PresentationIntentType": "FOR PRESENTATION",
        "Rows": pixels.shape[-3 if colour else -2], "Columns": pixels.shape[-2 if colour else -1],
        "SamplesPerPixel": 3 if colour else 1, "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if colour else None, "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8, "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }  # fmt: skip
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    for keyword, value in (own | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.save_as(path, enforce_file_format=True)
    return path


def breast(
    rng: np.random.Generator, shape: tuple[int, int], bright: float, box: tuple[int, int, int, int]
) -> npt.NDArray[Any]:
    """A film in [0, 1], (H, W): clouds of its own, so that no two are near-duplicates, and a lesion of `bright` in `box`."""
    clouds = Image.fromarray(rng.uniform(0, 1, (7, 7)).astype(np.float32))
    film = 0.5 * np.asarray(clouds.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
    left, top, right, bottom = box
    film[top:bottom, left:right] += bright / 2
    return np.clip(film + rng.normal(0, 0.01, shape), 0, 1)
