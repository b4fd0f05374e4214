"""Facts about every image and mask of a data set, each read once; an unreadable file is a fact, not an error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammozoo.data.dataset import Dataset, Sample, reads_apart
from mammozoo.data.duplicates.fingerprint import Fingerprint, fingerprint
from mammozoo.data.io.breast import Film, look_at
from mammozoo.data.io.dicom import header_value
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.io.several import read_many
from mammozoo.data.modality import SMALLEST
from mammozoo.errors import reason

# A pixel is coloured if its largest and smallest channel differ by more than `_COLOURED` of 255, and grey up to `_GREY`; between
# the two lies the noise of JPEG. Coloured marks on a grey picture have `_MARK_PIXELS` or more pixels and at most `_MARK_SHARE` of
# the picture, and at most `_TINTED` of it is neither coloured nor grey.
_COLOURED, _GREY, _TINTED = 40, 16, 0.05
_MARK_PIXELS, _MARK_SHARE = 8, 0.25
_THUMB = 48  # side of a thumbnail, in pixels


@dataclass(frozen=True)
class MaskFacts:
    """One mask file (or the whole mask, if the data set draws it itself): why it cannot be read, or its shape."""

    file: str
    problem: str | None = None
    shape: tuple[int, int] | None = None
    empty: bool = False


@dataclass(frozen=True)
class ImageFacts:
    """Facts about one image, as stored."""

    sample: Sample
    masks: tuple[MaskFacts, ...]
    problem: str | None = None  # why it cannot be read; None if it can, and the rest is known
    shape: tuple[int, int] = (0, 0)  # height and width in pixels
    depth: str = ""  # `uint8`, `uint16` or `float32`
    colour: bool = False
    spread: float = 0.0  # grey levels of 256 between which the middle 99 % of the pixels lie
    constant: bool = False  # whether all pixels are equal
    marks: float = 0.0  # share of coloured pixels in an otherwise grey picture, 0 without such marks
    photometric: str | None = None  # `MONOCHROME1`, … of a DICOM file
    fingerprint: Fingerprint | None = None
    thumb: npt.NDArray[np.uint8] | None = None  # (48, 48), to compare with the mean image
    film: Film | None = None  # of a grey image that may be a mammogram


def survey(
    dataset: Dataset, samples: Sequence[Sample], advance: Callable[[], object] = lambda: None, *, masks: bool = True
) -> list[ImageFacts]:
    """The facts of every sample, in order; `advance` is called after each sample. `masks=False` reads no masks."""

    def one(sample: Sample) -> ImageFacts:
        mask_facts = tuple(_masks(dataset, sample)) if masks else ()
        try:
            image = dataset.read(sample)
            grey = to_uint8(to_channels(image, 1))
            low, high = np.percentile(grey, (0.5, 99.5))
            part, own = dataset.source(sample)
            dicom = header_value(part.path(own.image), "PhotometricInterpretation") if part.root else None
            facts = ImageFacts(
                sample,
                mask_facts,
                shape=(image.shape[0], image.shape[1]),
                depth=image.dtype.name,
                colour=image.ndim == 3,
                spread=float(high - low),
                constant=bool((image == image[0, 0]).all()),
                marks=_marks(image),
                photometric=dicom,
                fingerprint=fingerprint(image),
                thumb=np.asarray(Image.fromarray(grey[..., 0]).resize((_THUMB, _THUMB), Image.Resampling.BOX)),
                film=look_at(image) if _may_be_film(dataset, image) else None,
            )
        except Exception as error:  # from a plugin's own reader too: one bad file must not hide the others
            facts = ImageFacts(sample, mask_facts, problem=reason(error))
        return facts

    result = []
    with contextlib.closing(read_many(one, samples, apart=reads_apart(dataset))) as found:
        for facts in found:
            result.append(facts)
            advance()
    return result


def _masks(dataset: Dataset, sample: Sample) -> Iterator[MaskFacts]:
    """Facts of each mask file; if the data set joins or draws masks itself, of the result."""
    parts = [(file, replace(sample, masks=(file,))) for file in sample.masks]
    if type(dataset.source(sample)[0]).mask is not Dataset.mask:
        parts = [(sample.masks[0] if sample.masks else sample.image, sample)]
    for file, part in parts:
        try:
            mask = dataset.mask(part)
        except Exception as error:  # as for images
            yield MaskFacts(file, problem=reason(error))
        else:
            if mask is not None:
                yield MaskFacts(file, shape=(mask.shape[0], mask.shape[1]), empty=not mask.any())


def _may_be_film(dataset: Dataset, image: npt.NDArray[Any]) -> bool:
    stated = dataset.info.modality
    return image.ndim == 2 and (stated == "mammography" or (stated == "any" and max(image.shape) >= SMALLEST))


def _marks(image: npt.NDArray[Any]) -> float:
    """The share of coloured pixels if nearly all others are grey; 0 for grey images and for true colour (histology)."""
    if image.ndim == 2:
        return 0.0
    chroma = np.ptp(to_uint8(image), axis=2)
    coloured = chroma > _COLOURED
    tinted = (chroma > _GREY) & ~coloured
    if coloured.sum() < _MARK_PIXELS or coloured.mean() > _MARK_SHARE or tinted.mean() > _TINTED:
        return 0.0
    return float(coloured.mean())
