"""CBIS-DDSM: 3568 lesions (1696 masses, 1872 calcifications) on digitised film mammograms of 1566 women, with masks.

Lee et al., Scientific Data 4 (2017) 170177, https://doi.org/10.1038/sdata.2017.177

Four tables name the lesions, `{mass,calc}_case_description_{train,test}_set.csv`, and their copies on disk differ:

    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC[_1]/<study>/<series>/000000.dcm           as the tables say
    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC[_1]/<date>/1.000000-…/1-1.dcm             as the NBIA Data Retriever writes
    jpeg/<series>/1-263.jpg                                                            a mirror in JPEG, 8 bits

A folder that ends in a number holds that lesion's mask and the cut-out of its image, which the tables often name the other
way round. So the names of files are not read at all: which is which is told by what they hold.
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
from mammozoo.errors import UsageError
from mammozoo_datasets.cbis_ddsm.files import Files, find_files, mask_among
from mammozoo_datasets.cbis_ddsm.table import KINDS, Lesion, disagreeing, read_table
from mammozoo_datasets.dicom_header import image_shape
from mammozoo_datasets.layout import nothing_found, some
from mammozoo_datasets.published_table import find_tables

_LAYOUT = """\
    mass_case_description_train_set.csv, … (four tables, in the root or a folder of it)
    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC/…/*.dcm      the image
    CBIS-DDSM/Mass-Training_P_00001_LEFT_CC_1/…/*.dcm    mask and cut-out of its lesion 1
    (or jpeg/<series>/*.jpg)"""
_LESIONS = {"mass": 1696, "calc": 1872}


class CbisDdsm(Dataset):
    """CBIS-DDSM, one sample a lesion on its whole image.

    Args:
        root: the folder that holds images and tables.
        abnormality: `mass`, `calc` or `both`.
        aspect: keep lesions whose box has a width-to-height ratio in this range, such as `0.4-1.5`; all masks are read for it.
        callback: what to do with BENIGN_WITHOUT_CALLBACK, `benign` or `drop`.
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
        layout=_LAYOUT,
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
        """Every lesion, sorted by name, with the official part in `meta`; `notes` says what is missing or left out.

        Raises:
            NotFoundError: none of the tables, or none of their images.
            UsageError: a table that is not CBIS-DDSM's.
            UnreadableImageError: with `aspect`, of the first mask that cannot be read.
        """
        samples, self.notes = list(self._found[0]), list(self._found[1])
        return samples

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """The lesion's mask at the size of the image: some masks have another, and are resized to it by nearest pixel."""
        found = super().mask(sample)
        if found is None:
            return None
        shape = image_shape(self.path(sample.image))
        if found.shape == shape:
            return found
        return np.asarray(Image.fromarray(found).resize((shape[1], shape[0]), Image.Resampling.NEAREST))

    @cached_property
    def _found(self) -> tuple[list[Sample], list[str]]:
        """Samples and notes; headers of some ten thousand files are read for them, so once."""
        assert self.root is not None
        lesions, notes = _without_shared([*self._lesions()])
        if self.callback == "drop":
            called = [lesion for lesion in lesions if lesion.pathology != "BENIGN_WITHOUT_CALLBACK"]
            notes.append(f"{len(lesions) - len(called)} lesions benign without callback are left out.")
            lesions = called
        elif uncalled := sum(lesion.pathology == "BENIGN_WITHOUT_CALLBACK" for lesion in lesions):
            notes.append(f"{uncalled} lesions benign without callback count as benign.")
        files = find_files(self.root)
        samples, missing = self._samples(lesions, files)
        if not samples:
            advice = f"None of the {len(lesions)} lesions of the tables has its image there."
            raise nothing_found(self.info.name, self.root, _LAYOUT, advice)
        if missing:
            notes.append(
                f"{len(missing)} of {len(lesions)} lesions are left out, their image is not there: {some(missing)}."
            )
        notes += self._about_files(samples)
        return self._within_aspect(samples, notes), notes

    def _lesions(self) -> Iterator[Lesion]:
        """Of the chosen tables; with only some of them there, of those."""
        assert self.root is not None
        found = False
        for kind in self.kinds:
            for part in ("train", "test"):
                for table in find_tables(self.root, f"{kind}_case_description_{part}_set.csv")[:1]:
                    found = True
                    yield from read_table(table, kind, part)
        if not found:
            advice = "The four tables are on the page of the data set, beside the images."
            raise nothing_found(self.info.name, self.root, _LAYOUT, advice)

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
        if bare := [sample.image for sample in samples if not sample.masks]:
            yield f"{len(bare)} lesions have no mask: {some(bare)}."
        shapes = [
            (s.image, image_shape(self.path(s.image)), image_shape(self.path(s.masks[0]))) for s in samples if s.masks
        ]
        if resized := [name for name, image, mask in shapes if image != mask]:
            yield f"{len(resized)} masks are not of their image's size and are resized to it: {some(resized)}."
        if any(self.path(sample.image).suffix.lower() in (".jpg", ".jpeg") for sample in samples):
            yield "The images are 8-bit JPEG copies: scores are not comparable with those on the 16-bit originals."

    def _within_aspect(self, samples: list[Sample], notes: list[str]) -> list[Sample]:
        if self.aspect is None:
            return samples
        low, high = self.aspect
        with ThreadPoolExecutor() as pool:
            boxes = list(pool.map(self.box, samples))
        boxed = [replace(sample, box=box) for sample, box in zip(samples, boxes, strict=True)]
        kept = [s for s in boxed if s.box and low <= (s.box[2] - s.box[0]) / (s.box[3] - s.box[1]) <= high]
        notes.append(
            f"{len(samples) - len(kept)} of {len(samples)} lesions are left out: no box, or width over height not in "
            f"{low:g}-{high:g}."
        )
        return kept


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split("-"))
    except ValueError:
        low = high = 0.0
    if not 0 < low < high:
        raise UsageError(f"'cbis-ddsm:aspect={text}': it is a range of width over height, such as aspect=0.4-1.5.")
    return low, high


def _without_shared(lesions: list[Lesion]) -> tuple[list[Lesion], list[str]]:
    """Masses by themselves are split by patient, and so are calcifications; together some patients are on both sides."""
    tested = {lesion.patient for lesion in lesions if lesion.part == "test"}
    kept = [lesion for lesion in lesions if lesion.part == "test" or lesion.patient not in tested]
    shared = {lesion.patient for lesion in lesions if lesion.part == "train"} & tested
    if not shared:
        return lesions, []
    note = (
        f"{len(shared)} patients are in the training part of one table and the test part of another. They stay in test: "
        f"{len(lesions) - len(kept)} of their lesions are left out of train."
    )
    return kept, [note]
