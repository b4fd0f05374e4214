"""The base class of data sets: named samples with a label, and if known a patient and a lesion."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from mammozoo.data.io.images import UnreadableImageError, image_shape, read_image, read_mask
from mammozoo.data.io.regions import Box, box_of_mask
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.files import absent
from mammozoo.text import known

Modality = Literal["ultrasound", "mammography", "microscopy", "any"]

_PART_OF_FILE = re.compile(r"(.+)#[\w.-]+")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image to classify.

    Attributes:
        image: path relative to the data set's root, with forward slashes (an id for generated images). It is the sample's
            unique name: if one file holds several lesions, `#` and the lesion follow (`mdb005.pgm#2`).
        label: name of its class.
        patient: identifier of the patient, None if unknown; "NaN", "unknown" and the like become None, as of `lesion`.
        lesion: identifier of the lesion, unique in the data set, None if unknown.
        masks: paths of lesion masks, to be joined by OR; may be empty.
        box: lesion box (left, top, right, bottom) in pixels, right and bottom exclusive.
        meta: further facts (device, BI-RADS …); `part` (train, val, test) or `fold` is its official split.
    """

    image: str
    label: str
    patient: str | None = None
    masks: tuple[str, ...] = ()
    box: Box | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    lesion: str | None = None

    def __post_init__(self) -> None:
        for name in ("patient", "lesion"):
            if isinstance(value := getattr(self, name), str):  # what is no text is for the checks of plugins
                object.__setattr__(self, name, known(value))


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Facts about a data set, for `mammozoo list datasets` and model cards.

    `classes` are in the order of a model's outputs; in a data set of two classes the second is
    the positive one. `images` and `patients` are the published counts, None if there is no such number.
    `access` states how to get the data, `layout` is its tree on disk, each line indented by four or more spaces. `marks` are
    patterns of file names, of which one is in every copy and in nobody else's folder: so the layout of a folder is known.
    """

    name: str
    title: str
    modality: Modality
    classes: tuple[str, ...]
    images: int | None = None
    patients: int | None = None
    url: str = ""
    license: str = ""
    citation: str = ""
    synthetic: bool = False
    access: str = ""
    layout: str = ""
    marks: tuple[str, ...] = ()


class Dataset:
    """Base of every data set. A subclass states `info` and implements `samples`; the rest has defaults.

    Args:
        root: folder (or file) that holds the data; None for generated data.

    Raises:
        UsageError: the data set needs a root and got none.
        NotFoundError: there is nothing at `root`.
    """

    info: DatasetInfo
    needs_root: ClassVar[bool] = True

    def __init__(self, root: Path | None = None) -> None:
        if self.needs_root:
            if root is None:
                raise UsageError(f"Data set '{self.info.name}' needs --root, the folder that holds it.")
            if not root.exists():
                raise NotFoundError(f"Data set '{self.info.name}': there is nothing at --root '{root}'.{absent(root)}")
        self.root = root
        #: Remarks for the user (an incomplete copy, files left out); filled by `samples`.
        self.notes: list[str] = []

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in output order; data sets that read them from disk override this."""
        return self.info.classes

    def samples(self) -> Sequence[Sample]:
        """Every sample, in an order that is the same on every machine."""
        raise NotImplementedError

    def read(self, sample: Sample) -> npt.NDArray[Any]:
        """The image as (H, W) grey or (H, W, 3) RGB; uint8, uint16 or float32, as stored."""
        path, part = self.path(sample.image), sample.image.rpartition("#")[2]
        if path.name != sample.image.rpartition("/")[2] and part.isdecimal():  # a frame, of a file that has several
            path = path.with_name(f"{path.name}#{part}")
        return read_image(path)

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """The lesion as (H, W) booleans, or None if the sample has no mask."""
        masks = [read_mask(self.path(name)) for name in sample.masks]
        return np.logical_or.reduce(masks) if masks else None

    def box(self, sample: Sample) -> Box | None:
        """The lesion's box: the one of the sample, else the box around its mask; None if there is no lesion.

        Raises:
            UnreadableImageError: the mask is not of the image's size, so that its pixels name another place there.
        """
        if sample.box is not None:
            return sample.box
        mask = self.mask(sample)
        if mask is None:
            return None
        as_stored = type(self).mask is Dataset.mask and type(self).read is Dataset.read
        shape = image_shape(self.path(sample.image)) if as_stored else mask.shape
        if mask.shape != shape:  # EXIF may turn what the header says
            shape = self.read(sample).shape[:2]
        if mask.shape != shape:
            sizes = f"{mask.shape[1]} × {mask.shape[0]} pixels, and its image {shape[1]} × {shape[0]}"
            raise UnreadableImageError(f"The mask of '{sample.image}' has {sizes}. Export both from one picture.")
        return box_of_mask(mask)

    def source(self, sample: Sample) -> tuple[Dataset, Sample]:
        """The data set that a sample is of, and the sample as that has it; of several joined ones, the one that it comes from."""
        return self, sample

    def path(self, relative: str) -> Path:
        """The path of a sample's file on this machine, without the lesion in it (`mdb005.pgm#2`)."""
        if self.root is None:
            raise UsageError(f"Data set '{self.info.name}' has no files; '{relative}' is generated.")
        base = self.root if self.root.is_dir() else self.root.parent
        if (part := _PART_OF_FILE.fullmatch(relative)) and not os.path.exists(base / relative):  # noqa: PTH110 - never raises
            return base / part[1]
        return base / relative


def reads_apart(dataset: Dataset) -> bool:
    """Whether its images may be read in forked processes: a way of its own to read may keep files open, which they share."""
    own = type(dataset)
    return dataset.info.synthetic or (own.read is Dataset.read and own.mask is Dataset.mask)


def sets_of(dataset: Dataset, samples: Sequence[Sample]) -> list[int]:
    """A number for each sample, equal for those of one of several joined data sets."""
    return [id(dataset.source(sample)[0]) for sample in samples]


def files_of(dataset: Dataset, samples: Sequence[Sample]) -> list[Path]:
    """The file of each sample that names no part of one; none of a data set without files."""
    sources = [dataset.source(sample) for sample in samples]
    return [part.path(own.image) for part, own in sources if part.root and "#" not in own.image]
