"""Mammograms as real DICOM files (Digital Mammography X-Ray Image, PS3.3 A.26), small."""

from __future__ import annotations

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
    """Grey pixels (H, W), uint8 or uint16, as a file; `tags` set whatever keyword of PS3.6 they name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.as_posix()])
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = STORAGE, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PresentationIntentType = "MG", "FOR PRESENTATION"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
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
