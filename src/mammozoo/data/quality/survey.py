"""Every image and mask of a data set read once, and what each of them is like; a bad file is a fact, not an end."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.duplicates.fingerprint import Fingerprint, fingerprint
from mammozoo.data.io.images import DICOM_SUFFIXES, read_mask, to_channels, to_uint8
from mammozoo.errors import MammozooError

#: A pixel is coloured when its largest and smallest channel differ by more than this, of 255.
COLOURED = 40
#: A pixel is grey when they differ by no more than this; between the two lies the noise of JPEG.
GREY = 16
#: The share of the other pixels that may be neither, in a grey picture with coloured marks on it.
_TINTED = 0.05
#: Coloured pixels that make a mark, and the share above which the picture itself is one in colour.
_MARK_PIXELS, _MARK_SHARE = 8, 0.25


@dataclass(frozen=True)
class MaskFacts:
    """One mask file (or the whole mask, where the data set draws it itself): why it cannot be read, or its shape."""

    file: str
    problem: str | None = None
    shape: tuple[int, int] | None = None
    empty: bool = False


@dataclass(frozen=True)
class ImageFacts:
    """What one image is like, as stored.

    Attributes:
        problem: why it cannot be read, None when it can; the rest is then known.
        shape: (height, width) in pixels.
        depth: `uint8`, `uint16` or `float32`.
        spread: grey levels of 256 between which the middle 99 % of the pixels lie.
        constant: all pixels are equal.
        marks: share of coloured pixels in an otherwise grey picture, 0 where there are no such marks.
        photometric: `MONOCHROME1`, … of a DICOM file, None of others.
    """

    sample: Sample
    masks: tuple[MaskFacts, ...]
    problem: str | None = None
    shape: tuple[int, int] = (0, 0)
    depth: str = ""
    colour: bool = False
    spread: float = 0.0
    constant: bool = False
    marks: float = 0.0
    photometric: str | None = None
    fingerprint: Fingerprint | None = None


def survey(
    dataset: Dataset, samples: Sequence[Sample], advance: Callable[[], object] = lambda: None, *, masks: bool = True
) -> list[ImageFacts]:
    """The facts of every sample, in order; masks are read unless told otherwise.

    `advance` is called after each sample, for a progress bar.
    """

    def one(sample: Sample) -> ImageFacts:
        mask_facts = tuple(_masks(dataset, sample)) if masks else ()
        try:
            facts = _facts(dataset, sample, dataset.read(sample), mask_facts)
        except Exception as error:  # of a plugin's own reader too: one bad file must not hide the others
            facts = ImageFacts(sample, mask_facts, problem=_reason(error))
        advance()
        return facts

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, samples))


def _masks(dataset: Dataset, sample: Sample) -> Iterator[MaskFacts]:
    """Each mask file by itself; where the data set joins or draws masks in its own way, what comes of it."""
    if type(dataset).mask is Dataset.mask:
        for file in sample.masks:
            yield _mask(file, partial(_read_one, dataset, file))
        return
    facts = _mask(sample.masks[0] if sample.masks else sample.image, lambda: dataset.mask(sample))
    if facts.problem or facts.shape:
        yield facts


def _read_one(dataset: Dataset, file: str) -> npt.NDArray[np.bool_]:
    return read_mask(dataset.path(file))


def _mask(file: str, read: Callable[[], npt.NDArray[np.bool_] | None]) -> MaskFacts:
    try:
        mask = read()
    except Exception as error:  # as for images
        return MaskFacts(file, problem=_reason(error))
    return MaskFacts(file) if mask is None else MaskFacts(file, shape=_size(mask), empty=not mask.any())


def _facts(dataset: Dataset, sample: Sample, image: npt.NDArray[Any], masks: tuple[MaskFacts, ...]) -> ImageFacts:
    low, high = np.percentile(to_uint8(to_channels(image, 1)), (0.5, 99.5))
    return ImageFacts(
        sample,
        masks,
        shape=_size(image),
        depth=image.dtype.name,
        colour=image.ndim == 3,
        spread=float(high - low),
        constant=bool((image == image[0, 0]).all()),
        marks=_marks(image),
        photometric=_photometric(dataset, sample),
        fingerprint=fingerprint(image),
    )


def _marks(image: npt.NDArray[Any]) -> float:
    """The share of coloured pixels where nearly all others are grey, 0 elsewhere; histology is no marked grey picture."""
    if image.ndim == 2:
        return 0.0
    chroma = to_uint8(image).max(axis=2).astype(np.int16) - to_uint8(image).min(axis=2)
    coloured = chroma > COLOURED
    tinted = (chroma > GREY) & ~coloured
    if coloured.sum() < _MARK_PIXELS or coloured.mean() > _MARK_SHARE or tinted.mean() > _TINTED:
        return 0.0
    return float(coloured.mean())


def _photometric(dataset: Dataset, sample: Sample) -> str | None:
    """What a DICOM file calls its grey scale; None of other files and of generated images."""
    if dataset.root is None or not (path := dataset.path(sample.image)).is_file():
        return None
    with path.open("rb") as handle:
        if handle.read(132)[128:] != b"DICM" and path.suffix.lower() not in DICOM_SUFFIXES:
            return None
    import pydicom  # here, because most users never meet a DICOM file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of each value that breaks the standard
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["PhotometricInterpretation"])
    return str(header.get("PhotometricInterpretation", "")) or None


def _size(array: npt.NDArray[Any]) -> tuple[int, int]:
    return int(array.shape[0]), int(array.shape[1])


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, MammozooError) else f"{type(error).__name__}: {error}"
