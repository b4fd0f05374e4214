"""CBIS-DDSM: 3568 lesions (1696 masses, 1872 calcifications) on digitised film mammograms of 1566 women, with masks.

Lee et al., Scientific Data 4 (2017) 170177, https://doi.org/10.1038/sdata.2017.177

Four tables name the lesions, `{mass,calc}_case_description_{train,test}_set.csv`, and their copies on disk differ:

    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC[_1]/<study>/<series>/000000.dcm           in the tables
    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC[_1]/<date>/1.000000-…/1-1.dcm             from the NBIA Data Retriever
    jpeg/<series>/1-263.jpg                                                            a mirror in JPEG, 8 bits

A folder that ends in a number holds that lesion's mask and the crop of its image. The tables often exchange their names, so file
names are not used: the content shows which file is the mask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.images import image_shape
from mammozoo.data.published import files_under, left_out, nothing_found
from mammozoo.errors import UsageError
from mammozoo_datasets.cbis_ddsm.files import Files, find_files, mask_among
from mammozoo_datasets.cbis_ddsm.table import KINDS, PARTS, Lesion, disagreeing, read_table

_LESIONS = {"mass": 1696, "calc": 1872}


class CbisDdsm(Dataset):
    """CBIS-DDSM, one sample for each lesion, on its whole image.

    Args:
        root: the folder that holds images and tables.
        abnormality: `mass`, `calc` or `both`.
        aspect: keep lesions whose box has a width-to-height ratio in this range, such as `0.4-1.5`; this reads all masks.
        callback: BENIGN_WITHOUT_CALLBACK counts as `benign`, or is dropped with `drop`.
    """

    info = DatasetInfo(
        name="cbis-ddsm",
        title="CBIS-DDSM, digitised film mammograms with lesion masks",
        modality="mammography",
        classes=("benign", "malignant"),
        images=3103,
        patients=1566,
        url="https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY",
        license="CC BY 3.0",
        citation="R. S. Lee, F. Gimenez, A. Hoogi, K. K. Miyake, M. Gorovoy, D. L. Rubin. A curated mammography data set for use "
        "in computer-aided detection and diagnosis research. Scientific Data 4 (2017) 170177.",
        access="From The Cancer Imaging Archive with the NBIA Data Retriever (163.6 GB), and the four CSV files of its page.",
        marks=("*_case_description_*_set.csv",),
        layout="""\
    mass_case_description_train_set.csv, … (four tables, in the root or a folder of it)
    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC/…/*.dcm      the image
    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC_1/…/*.dcm    mask and crop of its lesion 1
    (or jpeg/<series>/*.jpg)""",
    )

    def __init__(
        self,
        root: Path | None = None,
        abnormality: Literal["mass", "calc", "both"] = "both",
        aspect: str | None = None,
        callback: Literal["benign", "drop"] = "benign",
    ) -> None:
        super().__init__(root)
        self.kinds = KINDS if abnormality == "both" else (abnormality,)
        self.aspect = None if aspect is None else _range(aspect)
        self.callback = callback

    def samples(self) -> list[Sample]:
        """Every lesion, sorted by name, with the official part in `meta`; `notes` states what is missing or left out.

        Raises:
            NotFoundError: none of the tables, or none of their images.
            UsageError: a table that is not CBIS-DDSM's.
            UnreadableImageError: with `aspect`, of the first mask that cannot be read.
        """
        samples, self.notes = list(self._found[0]), list(self._found[1])
        return samples

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """The lesion's mask at the size of the image; masks of another size are resized by nearest pixel."""
        mask = super().mask(sample)
        height, width = image_shape(self.path(sample.image))
        if mask is None or mask.shape == (height, width):
            return mask
        pixels = Image.fromarray(mask.astype(np.uint8))
        return np.asarray(pixels.resize((width, height), Image.Resampling.NEAREST)) > 0

    @cached_property
    def _found(self) -> tuple[list[Sample], list[str]]:
        """Samples and notes; headers of some ten thousand files are read for them, so once."""
        assert self.root is not None
        lesions, notes = _without_shared([*self._lesions()])
        called = [lesion for lesion in lesions if lesion.pathology != "BENIGN_WITHOUT_CALLBACK"]
        if self.callback == "drop":
            notes.append(f"{len(lesions) - len(called)} lesions benign without callback are left out.")
            lesions = called
        elif len(called) < len(lesions):
            notes.append(f"{len(lesions) - len(called)} lesions benign without callback count as benign.")
        files = find_files(self.root)
        samples, missing = self._samples(lesions, files)
        if not samples:
            raise nothing_found(self, f"None of the {len(lesions)} lesions of the tables has its image there.")
        notes += left_out(missing, f"of {len(lesions)} lesions are left out, their image is not there")
        notes += [*self._about_files(samples), *files.notes]
        return self._within_aspect(samples, notes), notes

    def _lesions(self) -> Iterator[Lesion]:
        """The rows of the chosen tables that exist."""
        assert self.root is not None
        tables: dict[str, Path] = {}
        for path in sorted(files_under(self.root, {".csv"}, depth=3), key=lambda path: len(path.parts)):
            tables.setdefault(path.name, path)  # the highest
        chosen = {(kind, part): f"{kind}_case_description_{part}_set.csv" for kind in self.kinds for part in PARTS}
        if not {*chosen.values()} & tables.keys():
            raise nothing_found(self, "The four tables are on the page of the data set, beside the images.")
        for (kind, part), name in chosen.items():
            if name in tables:
                yield from read_table(tables[name], kind, part)

    def _samples(self, lesions: Sequence[Lesion], files: Files) -> tuple[list[Sample], list[str]]:
        assert self.root is not None
        torn = disagreeing(lesions)
        samples, missing = [], []
        for lesion in lesions:
            images = files.of(lesion.case, lesion.image_series)
            if not images:
                missing.append(lesion.folder)
                continue
            image = max(images, key=lambda path: np.prod(image_shape(path))) if len(images) > 1 else images[0]
            mask = mask_among(files.of(lesion.folder, *lesion.lesion_series), image)
            samples.append(
                Sample(
                    f"{image.relative_to(self.root).as_posix()}#{lesion.kind}-{lesion.number}",
                    lesion.label,
                    lesion.patient,
                    masks=() if mask is None else (mask.relative_to(self.root).as_posix(),),
                    meta=lesion.meta,
                    lesion=f"{lesion.name}-{lesion.view}" if lesion.name in torn else lesion.name,
                )
            )
        return sorted(samples, key=lambda sample: sample.image), missing

    def _about_files(self, samples: Sequence[Sample]) -> Iterator[str]:
        counts = Counter("mass" if "#mass-" in sample.image else "calc" for sample in samples)
        published = sum(_LESIONS[kind] for kind in self.kinds)
        if counts.total() != published:
            yield f"{counts.total()} lesions; published are {published}, before any is left out."
        yield from left_out([sample.image for sample in samples if not sample.masks], "lesions have no mask")
        shape = {name: image_shape(self.path(name)) for s in samples if s.masks for name in (s.image, s.masks[0])}
        resized = [s.image for s in samples if s.masks and shape[s.image] != shape[s.masks[0]]]
        yield from left_out(resized, "masks are not of their image's size and are resized to it")
        if any(self.path(sample.image).suffix.lower() in (".jpg", ".jpeg") for sample in samples):
            yield "The images are 8-bit JPEG copies: scores are not comparable with those on the 16-bit originals."

    def _within_aspect(self, samples: list[Sample], notes: list[str]) -> list[Sample]:
        if self.aspect is None:
            return samples
        low, high = self.aspect
        with ThreadPoolExecutor() as pool:
            boxes = list(pool.map(self.box, samples))
        boxed = [replace(sample, box=box) for sample, box in zip(samples, boxes, strict=True)]
        within = [s for s in boxed if s.box and low <= (s.box[2] - s.box[0]) / (s.box[3] - s.box[1]) <= high]
        out = f"{len(samples) - len(within)} of {len(samples)} lesions are left out"
        notes.append(f"{out}: no box, or width over height not in {low:g}-{high:g}.")
        return within


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split("-"))
    except ValueError:
        low = high = 0.0
    if not 0 < low < high:
        raise UsageError(f"'cbis-ddsm:aspect={text}': it is a range of width over height, such as aspect=0.4-1.5.")
    return low, high


def _without_shared(lesions: list[Lesion]) -> tuple[list[Lesion], list[str]]:
    """Lesions without those in train whose patient is in test: the official split of masses cuts no patient, nor does the one of
    calcifications, but together some patients are on both sides."""
    tested = {lesion.patient for lesion in lesions if lesion.part == "test"}
    unshared = [lesion for lesion in lesions if lesion.part == "test" or lesion.patient not in tested]
    shared = {lesion.patient for lesion in lesions if lesion.part == "train"} & tested
    if not shared:
        return lesions, []
    note = (
        f"{len(shared)} patients are in the training part of one table and the test part of another. They stay in test: "
        f"{len(lesions) - len(unshared)} of their lesions are left out of train."
    )
    return unshared, [note]
