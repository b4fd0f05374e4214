"""The four tables of CBIS-DDSM: one row for each lesion on an image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mammozoo.errors import UsageError
from mammozoo.tables import Row, read_rows

KINDS = ("mass", "calc")
PARTS = ("train", "test")
_LABELS = {"MALIGNANT": "malignant", "BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign"}
_PATIENT = re.compile(r"P_\d{5}")
_IMAGE, _CROP, _MASK = "image file path", "cropped image file path", "roi mask file path"
_NEEDED = ("patient_id", "left or right breast", "image view", "abnormality id", "pathology", _IMAGE, _CROP, _MASK)
_META = {  # name in `meta` → column
    "assessment": "assessment",
    "subtlety": "subtlety",
    "shape": "mass shape",
    "margins": "mass margins",
    "type": "calc type",
    "distribution": "calc distribution",
}


@dataclass(frozen=True)
class Lesion:
    """One row."""

    kind: str  # `mass` or `calc`
    part: str  # `train` or `test`, from the table's name
    patient: str
    side: str
    view: str
    number: str  # of the lesion on its image
    pathology: str
    case: str  # folder of the whole image, equal to the PatientID of its DICOM header; it contains the patient
    folder: str  # of the lesion's mask and crop
    image_series: str  # SeriesInstanceUIDs, the folder names of a mirror
    lesion_series: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Benign or malignant; a lesion benign without callback, which was never biopsied, is benign."""
        return _LABELS[self.pathology]

    @property
    def name(self) -> str:
        """The same for the lesion on both views, if their numbers agree."""
        return f"{self.patient}-{self.side}-{self.kind}-{self.number}"


def read_table(path: Path, kind: str, part: str) -> Iterator[Lesion]:
    """The rows of one table; UsageError with the line if a column is missing or a row makes no sense."""
    for line, row in read_rows(path, _NEEDED):
        yield _lesion(row, kind, part, f"'{path}', line {line}")


def disagreeing(lesions: Sequence[Lesion]) -> set[str]:
    """Names that stand for lesions of different pathology on the two views of a breast: their numbers do not match."""
    by_name: defaultdict[str, set[str]] = defaultdict(set)
    for lesion in lesions:
        by_name[lesion.name].add(lesion.pathology)
    return {name for name, pathologies in by_name.items() if len(pathologies) > 1}


def _lesion(row: Row, kind: str, part: str, where: str) -> Lesion:
    if row["pathology"] not in _LABELS:
        raise UsageError(f"{where}: the pathology '{row['pathology']}' is none of {', '.join(_LABELS)}.")
    image, crop, mask = (PurePosixPath(row[column]).parts for column in (_IMAGE, _CROP, _MASK))
    patient = _PATIENT.search(row["patient_id"])
    if patient is None or min(len(image), len(crop), len(mask)) < 3:
        reason = "no patient 'P_00001', or a path that is not of the form case/study/series/file"
        raise UsageError(f"{where}: {reason}. Copy the table again.")
    # Masses say `breast_density`, calcifications `breast density`; 0 stands for unknown.
    density = row.get("breast_density") or row.get("breast density") or ""
    known = {"density": "" if density == "0" else density, **{name: row.get(cell, "") for name, cell in _META.items()}}
    side, view, pathology = row["left or right breast"], row["image view"], row["pathology"]
    meta = {"part": part, "abnormality": kind, "side": side, "view": view, "pathology": pathology}
    return Lesion(
        kind,
        part,
        patient[0],
        side,
        view,
        row["abnormality id"],
        pathology,
        case=image[0],
        folder=crop[0],
        image_series=image[2],
        lesion_series=tuple(dict.fromkeys((crop[2], mask[2]))),
        meta=meta | {key: value for key, value in known.items() if value},
    )
