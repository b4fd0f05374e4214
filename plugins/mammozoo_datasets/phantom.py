"""Synthetic breast ultrasound or mammograms: generated masses, benign and malignant, with their outlines.

For a first run without a download, for tests, and for teaching. A score on phantoms shows that the software
works; it says nothing about patients.

The label determines the probabilities of the BI-RADS descriptors (`FINDINGS`, of mammograms `mammogram.MARGINS`), and the
descriptors determine the picture (`sonogram`, `mammogram`). Size, place, gain and tissue do not depend on the label. Every
descriptor occurs in both classes, so no classifier is perfect: one that reads all five of a sonogram reaches an AUC of 0.95.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mammozoo.config.names import Seed
from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.dicom import read_dicom
from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets.mammogram import VIEWS, Woman, as_dicom, draw_view, draw_woman
from mammozoo_datasets.sonogram import draw

# Probability of a descriptor in (benign, malignant) masses. Our choice, in the order and rough strength of
# Hong et al., AJR 184 (2005) 1260: of 403 biopsied masses, those with a spiculated margin were malignant in
# 86 %, not parallel 69 %, irregular 62 %; those with a circumscribed margin were benign in 90 %, oval 84 %,
# parallel 78 %. Drawn independently of each other, which real masses are not.
FINDINGS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "shape": {"oval": (0.70, 0.18), "round": (0.16, 0.12), "irregular": (0.14, 0.70)},
    "margin": {
        "circumscribed": (0.68, 0.10),
        "indistinct": (0.17, 0.25),
        "microlobulated": (0.09, 0.22),
        "angular": (0.04, 0.20),
        "spiculated": (0.02, 0.23),
    },
    "orientation": {"parallel": (0.87, 0.52), "not parallel": (0.13, 0.48)},
    "posterior": {
        "none": (0.52, 0.40),
        "enhancement": (0.36, 0.14),
        "shadowing": (0.08, 0.36),
        "combined": (0.04, 0.10),
    },
    "echo": {
        "anechoic": (0.12, 0.02),
        "hypoechoic": (0.60, 0.62),
        "heterogeneous": (0.14, 0.31),
        "isoechoic": (0.14, 0.05),
    },
}
CLASSES = ("benign", "malignant")


class Phantom(Dataset):
    """`n` generated images.

    `ultrasound`: sonograms, 128 x 128 of 8 bits, two malignant in every five. `mammography`: mammograms, 256 x 192 of 12 bits,
    left and right, CC and MLO of a woman one after the other; of five women two have a benign mass, two a malignant one and one
    none, and a breast without a mass is `normal`.

    Image `i` of seed `s` depends on `(s, i)` alone: the same in any order, process or subset, and the first
    100 of 400 are those of `n=100`.

    Args:
        root: must be None; there are no files.
        n: number of images, at least 1.
        seed: 0 or more; another seed gives other images.
        modality: what is generated.
        dicom: whether `read` gives the picture that the file of `dicom_bytes` shows.

    Raises:
        UsageError: `n` or `seed` out of range, or a root was given.
    """

    needs_root = False
    info = DatasetInfo(
        name="phantom",
        title="Synthetic breast ultrasound phantoms",
        modality="ultrasound",
        classes=CLASSES,
        license="Apache-2.0",
        synthetic=True,
    )

    def __init__(
        self,
        root: Path | None = None,
        n: Annotated[int, Field(ge=1, le=1_000_000)] = 400,
        seed: Seed = 0,
        modality: Literal["ultrasound", "mammography"] = "ultrasound",
        dicom: bool = False,
    ) -> None:
        super().__init__(root)
        if root is not None:
            raise UsageError(
                f"Data set 'phantom' is generated and takes no --root; got '{root}'. "
                f"For your own images: mammozoo train {root}"
            )
        self.n = n
        self.seed = seed
        self.dicom = dicom
        if modality == "mammography":
            classes = (*CLASSES, "normal")
            self.info = replace(self.info, title="Synthetic mammograms", modality="mammography", classes=classes)

    def samples(self) -> list[Sample]:
        """All `n` samples; `meta` holds the descriptors of the mass, or side, view, breast and density of a mammogram."""
        if self.info.modality == "mammography":
            return [_mammogram_sample(self.seed, index) for index in range(self.n)]
        samples = []
        for index in range(self.n):
            name = f"phantom-{self.seed}-{index:05d}"
            label, findings = draw_findings(self.seed, index)
            samples.append(Sample(image=name, label=label, patient=name, meta=findings))
        return samples

    def read(self, sample: Sample) -> npt.NDArray[Any]:
        """The sonogram as (128, 128) uint8, the mammogram as (256, 192) uint16; NotFoundError if `sample` is not a phantom."""
        if self.dicom:
            return read_dicom(sample.image, io.BytesIO(self.dicom_bytes(sample)))
        return _picture(*_address(sample))[0].copy()

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """The drawn mass without its spicules as booleans of the image's shape, None if there is none. Raises as `read`."""
        mask = _picture(*_address(sample))[1]
        return mask.copy() if mask.any() else None

    def dicom_bytes(self, sample: Sample) -> bytes:
        """The image as a DICOM file: modality, patient, and of a mammogram side, view and presentation intent. Raises as `read`."""
        kind, seed, number, view = _address(sample)
        return as_dicom(_picture(kind, seed, number, view)[0], f"{kind}-{seed}-{number:05d}", view)


def draw_findings(seed: int, index: int) -> tuple[str, dict[str, str]]:
    """Label and descriptors of one phantom, by the probabilities of `FINDINGS`."""
    # Two of each five are malignant, so that small sets have both classes; the seed decides which.
    five, place = divmod(index, 5)
    malignant = int(np.random.default_rng([seed, five, 5]).permutation(5)[place] < 2)
    rng = np.random.default_rng([seed, index])
    findings = {
        feature: list(table)[int(rng.choice(len(table), p=[both[malignant] for both in table.values()]))]
        for feature, table in FINDINGS.items()
    }
    return CLASSES[malignant], findings


def _mammogram_sample(seed: int, index: int) -> Sample:
    """A view of woman `index // 4`."""
    number, place = divmod(index, len(VIEWS))
    woman, view = _woman(seed, number), VIEWS[place]
    name, side = f"mammogram-{seed}-{number:05d}", view[0]
    ill = woman.side == side and woman.kind != "normal"
    meta = {"side": side, "view": view[2:], "breast": f"{name}-{side}", "density": woman.density}
    return Sample(
        image=f"{name}-{view}",
        label=woman.kind if ill else "normal",
        patient=name,
        lesion=f"{name}-{side}" if ill else None,
        meta=meta | ({"margin": woman.margin} if ill else {}),
    )


@lru_cache(maxsize=16)
def _woman(seed: int, number: int) -> Woman:
    five, place = divmod(number, 5)
    kind = np.random.default_rng([seed, five, 6]).permutation(["benign", "benign", "malignant", "malignant", "normal"])[
        place
    ]
    return draw_woman(str(kind), np.random.default_rng([seed, number, 2]))


def _address(sample: Sample) -> tuple[str, int, int, str]:
    """(kind, seed, number, view) from a sample's name; the view of a sonogram is empty."""
    try:
        kind, seed, number, *view = sample.image.split("-", 3)
        if {"phantom": not view, "mammogram": view and view[0] in VIEWS}[kind]:
            return kind, int(seed), int(number), "".join(view)
    except (ValueError, KeyError):
        pass
    known = "phantoms are named like 'phantom-0-00012' or 'mammogram-0-00003-L-CC'"
    raise NotFoundError(f"'{sample.image}' is not a phantom; {known}.")


@lru_cache(maxsize=16)  # image and mask of a sample are read one after the other
def _picture(kind: str, seed: int, number: int, view: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    if kind == "mammogram":
        return draw_view(_woman(seed, number), view, np.random.default_rng([seed, number, 3 + VIEWS.index(view)]))
    _, findings = draw_findings(seed, number)
    return draw(findings, np.random.default_rng([seed, number, 1]))
