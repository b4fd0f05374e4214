"""A data set: generated discs and stars, two images of each patient.

A data set of files differs in three lines: no `needs_root`, `samples` lists what is below `self.root`, and `read` can be left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from mammozoo import Dataset, DatasetInfo, Sample
from mammozoo.errors import UsageError

SIZE = 32  # pixels
_ROWS, _COLUMNS = np.mgrid[0:SIZE, 0:SIZE]


class Shapes(Dataset):
    """Dark masses in a noisy field: a smooth outline is benign, a spiky one malignant. They say nothing of patients.

    Args:
        patients: number of patients, at least 2; each has two images, and every second patient a malignant mass.
    """

    needs_root = False
    info: ClassVar[DatasetInfo] = DatasetInfo(
        name="example-shapes",
        title="Generated discs and stars",
        modality="ultrasound",
        classes=("benign", "malignant"),  # the second is the positive one
        license="Apache-2.0",
        synthetic=True,  # every score on it gets a stamp that says so
    )

    def __init__(self, root: Path | None = None, patients: int = 40) -> None:
        super().__init__(root)
        if patients < 2:
            raise UsageError(f"Data set 'example-shapes' needs at least 2 patients, not {patients}.")
        self.patients = patients

    def samples(self) -> list[Sample]:
        """Two views of each patient. Splits keep the images of a patient together, for each sample names its own."""
        return [
            Sample(f"{patient:04d}-{view}", label=self.classes[patient % 2], patient=f"{patient:04d}")
            for patient in range(self.patients)
            for view in ("a", "b")
        ]

    def read(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """The image as (32, 32) uint8."""
        rng = np.random.default_rng([int(sample.image[:4]), ord(sample.image[-1])])
        field = rng.normal(150, 20, (SIZE, SIZE))
        field[self._mass(sample, rng)] -= 60
        return field.clip(0, 255).astype(np.uint8)

    def _mass(self, sample: Sample, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """The (32, 32) mask of a disc, or of a star with eight spikes."""
        row, column = rng.uniform(12, 20, 2)
        spikes = 0.35 if sample.label == "malignant" else 0.05
        angle = np.arctan2(_ROWS - row, _COLUMNS - column)
        inside: npt.NDArray[np.bool_] = np.hypot(_ROWS - row, _COLUMNS - column) < 8 * (1 + spikes * np.cos(8 * angle))
        return inside
