"""Synthetic breast ultrasound: generated masses, benign and malignant, with their outlines.

For a first run without a download, for tests, and for teaching. A score on phantoms shows that the software
works; it says nothing about patients.

The label determines the probabilities of the BI-RADS descriptors (`FINDINGS`), and the descriptors determine the picture
(`mammozoo_datasets.sonogram`). Size, place, gain and tissue do not depend on the label. Every descriptor occurs in both
classes, so no classifier is perfect: one that reads all five without error reaches an AUC of 0.95.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mammozoo.config.names import Seed
from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets.sonogram import Sonogram, draw

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
    """`n` generated sonograms, 128 x 128, two malignant in every five.

    Image `i` of seed `s` depends on `(s, i)` alone: the same in any order, process or subset, and the first
    100 of 400 are those of `n=100`.

    Args:
        root: must be None; there are no files.
        n: number of images, at least 1.
        seed: 0 or more; another seed gives other images.

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
        self, root: Path | None = None, n: Annotated[int, Field(ge=1, le=1_000_000)] = 400, seed: Seed = 0
    ) -> None:
        super().__init__(root)
        if root is not None:
            raise UsageError(f"Data set 'phantom' is generated and takes no --root; got '{root}'.")
        self.n = n
        self.seed = seed

    def samples(self) -> list[Sample]:
        """All `n` samples; `meta` holds the descriptors of the mass."""
        samples = []
        for index in range(self.n):
            name = f"phantom-{self.seed}-{index:05d}"
            label, findings = draw_findings(self.seed, index)
            samples.append(Sample(image=name, label=label, patient=name, meta=findings))
        return samples

    def read(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """The sonogram as (128, 128) uint8; NotFoundError if `sample` is not a phantom."""
        return _sonogram(*_address(sample)).image.copy()

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_]:
        """The drawn mass without its spicules as (128, 128) booleans. Raises as `read`."""
        return _sonogram(*_address(sample)).mask.copy()


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


def _address(sample: Sample) -> tuple[int, int]:
    """(seed, index) from a sample's name."""
    try:
        _, seed, index = sample.image.split("-")
        return int(seed), int(index)
    except ValueError as error:
        raise NotFoundError(f"'{sample.image}' is not a phantom; phantoms are named like 'phantom-0-00012'.") from error


@lru_cache(maxsize=16)  # image and mask of a sample are read one after the other
def _sonogram(seed: int, index: int) -> Sonogram:
    _, findings = draw_findings(seed, index)
    return draw(findings, np.random.default_rng([seed, index, 1]))
