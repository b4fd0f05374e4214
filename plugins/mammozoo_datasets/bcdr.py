"""BCDR-F03: 736 digitised film mammograms of 344 women with outlines of masses, benign or malignant.

Arevalo et al., Computer Methods and Programs in Biomedicine 127 (2016) 248, https://doi.org/10.1016/j.cmpb.2015.12.014

A row of the table is an outline; cells start with spaces, and "NaN" stands for unknown. A lesion may have several rows that
differ in `segmentation_id`: they are one sample, with their outlines joined. Each of BCDR's sets (F01, F02, F03 …) numbers its
patients from 1, so a patient's identifier here starts with the name of the set.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mammozoo.config.names import Seed
from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.images import image_shape
from mammozoo.data.io.regions import Point, box_of_outline, draw_outlines, join_boxes
from mammozoo.data.published import count_notes, files_under, find_home, left_out, nothing_found
from mammozoo.errors import UsageError
from mammozoo.tables import Row, read_rows

_TABLE = "bcdr_f03_outlines.csv"
_LABELS = {"benign": "benign", "malign": "malignant", "malignant": "malignant"}
_VIEWS = {"1": ("right", "CC"), "2": ("left", "CC"), "3": ("right", "MLO"), "4": ("left", "MLO")}
_NEEDED = ("patient_id", "lesion_id", "image_filename", "classification", "lw_x_points", "lw_y_points")
_FINDINGS = (
    "mammography_nodule",
    "mammography_calcification",
    "mammography_microcalcification",
    "mammography_axillary_adenopathy",
    "mammography_architectural_distortion",
    "mammography_stroma_distortion",
)
_PUBLISHED = {"benign": 426, "malignant": 310}


@dataclass
class Lesion:
    """A lesion on one image; `outlines` are those of all readers, points (x, y) in pixels from the upper left."""

    image: str
    number: str
    label: str
    patient: str
    meta: dict[str, Any]
    outlines: list[tuple[Point, ...]] = field(default_factory=list)


class BcdrF03(Dataset):
    """BCDR-F03, one sample for each lesion on an image.

    Args:
        root: the folder of `bcdr_f03_outlines.csv`, or one that holds it.
        balanced: number of samples to draw of each class (300 in Chougrad 2017, not listed there); 0 takes all.
        seed: of that draw.
    """

    info = DatasetInfo(
        name="bcdr-f03",
        title="BCDR-F03, digitised film mammograms with mass outlines",
        modality="mammography",
        classes=tuple(_PUBLISHED),
        images=sum(_PUBLISHED.values()),
        patients=344,
        url="https://bcdr.eu",
        license="on registration; research use",
        citation="J. Arevalo, F. A. González, R. Ramos-Pollán, J. L. Oliveira, M. A. Guevara Lopez. Representation learning for "
        "mammography mass lesion classification with convolutional neural networks. "
        "Computer Methods and Programs in Biomedicine 127 (2016) 248-257.",
        access="Register at https://bcdr.eu and download BCDR-F03.",
        marks=("bcdr_f03_outlines.csv",),
        layout="""\
    BCDR-F03/
      bcdr_f03_outlines.csv
      patient_182/study_188/img_182_188_1_LCC.tif
      …""",
    )

    def __init__(self, root: Path | None = None, balanced: Annotated[int, Field(ge=0)] = 0, seed: Seed = 0) -> None:
        super().__init__(root)
        self.root: Path = find_home(self.info, root, {_TABLE})
        self.balanced, self.seed = balanced, seed

    def samples(self) -> list[Sample]:
        """Every lesion on every image, sorted by name; `notes` states what is missing.

        Raises:
            NotFoundError: no table of outlines, or none of its images.
            UsageError: a row that makes no sense, or fewer samples than `balanced` asks for.
        """
        samples = [
            Sample(
                name,
                lesion.label,
                lesion.patient,
                box=join_boxes([box_of_outline(outline) for outline in lesion.outlines]),
                meta=lesion.meta,
                lesion=f"{lesion.patient}-{lesion.number}",
            )
            for name, lesion in sorted(self._table[0].items())
        ]
        counts = Counter(sample.label for sample in samples)
        self.notes = [*self._table[1], *count_notes(counts, _PUBLISHED, "lesions")]
        if not self.balanced:
            return samples
        if min(counts[label] for label in self.classes) < self.balanced:
            listed = ", ".join(f"{counts[label]} {label}" for label in self.classes)
            raise UsageError(f"'bcdr-f03:balanced={self.balanced}': there are only {listed} at '{self.root}'.")
        rng = np.random.default_rng(self.seed)
        chosen: set[int] = set()
        for label in self.classes:
            places = [place for place, sample in enumerate(samples) if sample.label == label]
            chosen |= set(rng.choice(places, self.balanced, replace=False).tolist())
        drawn = f"{self.balanced} samples of each class are drawn with seed {self.seed}"
        self.notes.append(f"{drawn}; the others are left out.")
        return [samples[place] for place in sorted(chosen)]

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """All outlines of the lesion, filled and joined."""
        return draw_outlines(self._table[0][sample.image].outlines, image_shape(self.path(sample.image)))

    @cached_property
    def _table(self) -> tuple[dict[str, Lesion], list[str]]:
        """Sample name → lesion, and notes. The name is the image's path; `#` and the lesion follow if an image has several."""
        table = self.root / _TABLE
        if not table.is_file():
            advice = f"{_TABLE} holds classes and outlines; the table of features alone is not enough."
            raise nothing_found(self, advice)
        tiffs = files_under(self.root, {".tif", ".tiff"})
        files = {path.name.lower(): path.relative_to(self.root).as_posix() for path in tiffs}
        lesions: dict[tuple[str, str], Lesion] = {}
        missing: dict[str, None] = {}
        rows = 0
        for line, row in read_rows(table, _NEEDED):
            rows += 1
            file = PurePosixPath(row["image_filename"].replace("\\", "/")).name
            if file.lower() not in files:
                missing[file] = None
                continue
            where = f"'{table}', line {line}"
            new = _lesion(row, files[file.lower()], where)
            known = lesions.setdefault((new.image, new.number), new)
            if (known.label, known.patient) != (new.label, new.patient):
                raise UsageError(
                    f"{where}: lesion {new.number} on '{new.image}' is {new.label}, {new.patient} here, and {known.label}, "
                    f"{known.patient} in a line before. One of them is wrong; restore the original table."
                )
            if known is not new:
                known.outlines += new.outlines
        if not lesions:
            raise nothing_found(self, f"None of the {rows} images of the table is there.")
        notes = [*left_out(list(missing), "images of the table are not there"), *tiffs.notes]
        if joined := sum(len(lesion.outlines) - 1 for lesion in lesions.values()):
            notes.append(f"{joined} further outlines of the same lesion on the same image are joined to the first.")
        per_image = Counter(lesion.image for lesion in lesions.values())
        named = {
            lesion.image if per_image[lesion.image] == 1 else f"{lesion.image}#lesion-{lesion.number}": lesion
            for lesion in lesions.values()
        }
        return named, notes


def _lesion(row: Row, image: str, where: str) -> Lesion:
    label = _LABELS.get(row["classification"].lower())
    if label is None:
        raise UsageError(f"{where}: the classification '{row['classification']}' is neither Benign nor Malign.")
    try:
        across, down = ([float(text) for text in row[f"lw_{axis}_points"].split()] for axis in "xy")
        outline = tuple(zip(across, down, strict=True))
    except ValueError as error:
        reason = f"the points of the outline are not as many numbers across as down ({error})"
        raise UsageError(f"{where}: {reason}.") from error
    if not outline:
        raise UsageError(f"{where}: the outline has no point.")
    side, view = _VIEWS.get(row.get("image_view", ""), ("", ""))
    findings = [name.removeprefix("mammography_") for name in _FINDINGS if row.get(name) == "1"]
    cells = {"side": side, "view": view, "age": row.get("age", ""), "density": row.get("density", "")}
    cells["findings"] = " ".join(findings)
    meta = {key: value for key, value in cells.items() if value and value.lower() != "nan"}
    return Lesion(image, row["lesion_id"], label, f"bcdr-f03-{row['patient_id']}", meta, [outline])
