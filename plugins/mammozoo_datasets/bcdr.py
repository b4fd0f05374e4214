"""BCDR-F03: 736 digitised film mammograms of 344 women with outlines of masses, benign or malignant.

Arevalo et al., Computer Methods and Programs in Biomedicine 127 (2016) 248, https://doi.org/10.1016/j.cmpb.2015.12.014

    BCDR-F03/
      bcdr_f03_outlines.csv         a row an outline, spaces before cells, "NaN" for unknown
      patient_182/study_188/img_182_188_1_LCC.tif

A lesion may have several rows that differ in `segmentation_id`: they are one sample, its outlines joined. Numbers of patients
start anew in each of BCDR's sets (F01, F02, F03 …), so ours carry the name of the set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.regions import Point, box_of_outline, draw_outlines, join_boxes
from mammozoo.errors import UsageError
from mammozoo_datasets.dicom_header import image_shape
from mammozoo_datasets.layout import nothing_found, some
from mammozoo_datasets.listing import files_under, home
from mammozoo_datasets.published_table import Row, read_rows

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
_LAYOUT = """\
    BCDR-F03/
      bcdr_f03_outlines.csv
      patient_182/study_188/img_182_188_1_LCC.tif
      …"""


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
    """BCDR-F03, one sample a lesion on an image.

    Args:
        root: the folder of `bcdr_f03_outlines.csv`, or one that holds it.
        balanced: draw so many samples of each class (300 in Chougrad 2017, not listed there); 0 takes all.
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
        layout=_LAYOUT,
    )

    def __init__(self, root: Path | None = None, balanced: int = 0, seed: int = 0) -> None:
        super().__init__(root)
        assert root is not None
        self.root: Path = home(self.info.name, root, {_TABLE})
        if balanced < 0:
            raise UsageError(f"'bcdr-f03:balanced={balanced}': it is a number of samples of each class, or 0 for all.")
        self.balanced, self.seed = balanced, seed

    def samples(self) -> list[Sample]:
        """Every lesion on every image, sorted by name; `notes` says what is missing.

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
            for name, lesion in sorted(self._lesions.items())
        ]
        counts = {label: sum(sample.label == label for sample in samples) for label in _PUBLISHED}
        self.notes = list(self._remarks)
        if counts != _PUBLISHED:
            listed = ", ".join(f"{counts[label]} of the published {n} {label}" for label, n in _PUBLISHED.items())
            self.notes.append(f"{listed} lesions.")
        return self._drawn(samples, counts) if self.balanced else samples

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """All outlines of the lesion, filled and joined."""
        return draw_outlines(self._lesions[sample.image].outlines, image_shape(self.path(sample.image)))

    def _drawn(self, samples: list[Sample], counts: dict[str, int]) -> list[Sample]:
        if min(counts.values()) < self.balanced:
            listed = ", ".join(f"{n} {label}" for label, n in counts.items())
            raise UsageError(f"'bcdr-f03:balanced={self.balanced}': there are only {listed} at '{self.root}'.")
        rng = np.random.default_rng(self.seed)
        chosen: set[int] = set()
        for label in self.classes:
            places = [place for place, sample in enumerate(samples) if sample.label == label]
            chosen |= set(rng.choice(places, self.balanced, replace=False).tolist())
        self.notes.append(
            f"{self.balanced} samples of each class are drawn with seed {self.seed}; the others are left out."
        )
        return [samples[place] for place in sorted(chosen)]

    @cached_property
    def _lesions(self) -> dict[str, Lesion]:
        """Sample name → lesion. The name is the image's path; a second lesion of an image follows it after `#`."""
        table = self.root / _TABLE
        if not table.is_file():
            advice = "bcdr_f03_outlines.csv holds classes and outlines; the table of features alone does not do."
            raise nothing_found(self.info.name, self.root, _LAYOUT, advice)
        files = {
            path.name.lower(): path.relative_to(self.root).as_posix()
            for path in files_under(self.root, {".tif", ".tiff"})
        }
        lesions: dict[tuple[str, str], Lesion] = {}
        missing: dict[str, None] = {}
        rows = twice = 0
        for line, row in read_rows(table, _NEEDED):
            rows += 1
            file = PurePosixPath(row["image_filename"].replace("\\", "/")).name
            if file.lower() not in files:
                missing[file] = None
                continue
            new = _lesion(row, files[file.lower()], f"'{table}', line {line}")
            known = lesions.setdefault((new.image, new.number), new)
            if known is not new:
                twice += 1
                _join(known, new, f"'{table}', line {line}")
        if not lesions:
            raise nothing_found(self.info.name, self.root, _LAYOUT, f"None of the {rows} images of the table is there.")
        self._remarks = []
        if missing:
            self._remarks.append(f"{len(missing)} images of the table are not there: {some(list(missing))}.")
        if twice:
            self._remarks.append(
                f"{twice} further outlines of the same lesion on the same image are joined to the first."
            )
        return _named(list(lesions.values()))


def _lesion(row: Row, image: str, where: str) -> Lesion:
    label = _LABELS.get(row["classification"].lower())
    if label is None:
        raise UsageError(f"{where}: the classification '{row['classification']}' is neither Benign nor Malign.")
    try:
        across, down = ([float(text) for text in row[f"lw_{axis}_points"].split()] for axis in "xy")
        outline = tuple(zip(across, down, strict=True))
    except ValueError as error:
        raise UsageError(
            f"{where}: the points of the outline are not as many numbers across as down ({error})."
        ) from error
    if not outline:
        raise UsageError(f"{where}: the outline has no point.")
    side, view = _VIEWS.get(row.get("image_view", ""), ("", ""))
    known = {"side": side, "view": view, "age": row.get("age", ""), "density": row.get("density", "")}
    meta = {key: value for key, value in known.items() if value and value.lower() != "nan"}
    seen = [name.removeprefix("mammography_") for name in _FINDINGS if row.get(name) == "1"]
    return Lesion(
        image,
        row["lesion_id"],
        label,
        f"bcdr-f03-{row['patient_id']}",
        meta | ({"findings": " ".join(seen)} if seen else {}),
        [outline],
    )


def _join(known: Lesion, new: Lesion, where: str) -> None:
    if (known.label, known.patient) != (new.label, new.patient):
        raise UsageError(
            f"{where}: lesion {new.number} on '{new.image}' is {new.label}, {new.patient} here, and {known.label}, "
            f"{known.patient} in a line before. One of them is wrong; restore the original table."
        )
    known.outlines += new.outlines


def _named(lesions: list[Lesion]) -> dict[str, Lesion]:
    alone = {lesion.image: sum(other.image == lesion.image for other in lesions) == 1 for lesion in lesions}
    return {
        lesion.image if alone[lesion.image] else f"{lesion.image}#lesion-{lesion.number}": lesion for lesion in lesions
    }
