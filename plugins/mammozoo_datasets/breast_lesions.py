"""BrEaST: 256 breast ultrasound images of 256 patients, with masks, clinical data and confirmed labels.

A. Pawłowska et al., Scientific Data 11 (2024) 148, https://doi.org/10.7937/9WKK-Q141

Columns of the workbook: CaseID, Image_filename, Mask_tumor_filename, Mask_other_filename, …, Classification.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.published import count_notes, files_under, left_out, nothing_found
from mammozoo.errors import UsageError
from mammozoo.tables import MissingColumnError, Row, read_rows

_PUBLISHED = {"benign": 154, "malignant": 98, "normal": 4}
_NEEDED = ("caseid", "image_filename", "mask_tumor_filename", "classification")
_OTHER = "mask_other_filename"


class Breast(Dataset):
    """BrEaST by its workbook; a case is a patient, and the mask of a sample is the mask of its tumour.

    `meta` holds the other columns (birads, age, margin, …). Other outlines in an image, `caseNNN_other1.png`, are named in
    `meta['mask_other_filename']` and are not part of the mask: the label is about the tumour.

    Args:
        root: the folder that holds the workbook and the images, at any depth.
    """

    info = DatasetInfo(
        name="breast",
        title="BrEaST, curated breast ultrasound with masks",
        modality="ultrasound",
        classes=tuple(_PUBLISHED),
        images=sum(_PUBLISHED.values()),
        patients=256,
        url="https://doi.org/10.7937/9WKK-Q141",
        license="CC BY 4.0",
        citation="A. Pawłowska et al. Curated benchmark dataset for ultrasound based breast lesion analysis. "
        "Scientific Data 11 (2024) 148.",
        access="Download images, masks and the clinical data (xlsx) from "
        "https://www.cancerimagingarchive.net/collection/breast-lesions-usg/ into one folder and unpack.",
        marks=("BrEaST-Lesions-USG-*.xlsx",),
        layout="""\
    BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx
    BrEaST-Lesions_USG-images_and_masks/
      case001.png  case001_tumor.png  [case001_other1.png], …""",
    )

    def samples(self) -> list[Sample]:
        """Every row of the workbook that has an image, in its order; `notes` states what is missing.

        Raises:
            NotFoundError: no workbook with the columns of BrEaST, or none of its images.
            UsageError: several such workbooks, one that cannot be read, a case listed twice, or another classification
                than benign, malignant or normal; with the row.
        """
        assert self.root is not None
        where, rows = self._workbook(self.root)
        found = files_under(self.root, {".png"})
        files = {path.name.lower(): path.relative_to(self.root).as_posix() for path in found}
        samples, missing, absent = [], [], []
        lines: dict[str, int] = {}
        for line, row in rows:
            label, case = row["classification"].lower(), row["caseid"]
            if label not in _PUBLISHED:
                known = ", ".join(_PUBLISHED)
                raise UsageError(f"Workbook '{where}', row {line}: classification '{label}' is none of {known}.")
            if case in lines:
                raise UsageError(f"Workbook '{where}' lists case {case} twice, in rows {lines[case]} and {line}.")
            lines[case] = line
            image = files.get(row["image_filename"].lower())
            if image is None:
                missing.append(row["image_filename"])
                continue
            names = _file_names(row["mask_tumor_filename"])
            absent += [name for name in names if name.lower() not in files]
            masks = tuple(files[name.lower()] for name in names if name.lower() in files)
            meta = {column: cell for column, cell in row.items() if column not in (*_NEEDED, _OTHER) and cell}
            if others := _file_names(row.get(_OTHER, "")):
                meta[_OTHER] = ";".join(files.get(name.lower(), name) for name in others)
            samples.append(Sample(image, label, patient=case, masks=masks, meta=meta))
        if not samples:
            raise nothing_found(self, "The workbook is there, its images are not.")
        self.notes = [
            *count_notes(Counter(sample.label for sample in samples), _PUBLISHED),
            *left_out(missing, "rows of the workbook have no image"),
            *left_out(absent, "masks of the workbook are not there"),
            *found.notes,
        ]
        return samples

    def _workbook(self, root: Path) -> tuple[Path, list[tuple[int, Row]]]:
        """The one workbook that has the needed columns, and its rows with their numbers."""
        paths = files_under(root, {".xlsx"}, depth=3)
        workbooks = [(path, rows) for path in paths if (rows := _rows(path)) is not None]
        if not workbooks:
            raise nothing_found(self)
        if len(workbooks) > 1:
            names = ", ".join(f"'{path.relative_to(root).as_posix()}'" for path, _ in workbooks)
            found = f"--root '{root}' holds {len(workbooks)} workbooks: {names}"
            raise UsageError(f"Data set 'breast': {found}. Point --root at one.")
        return workbooks[0]


def _rows(path: Path) -> list[tuple[int, Row]] | None:
    """(row number, column → text) of a workbook; None if no sheet of it has the needed columns."""
    try:
        return [(number, row) for number, row in read_rows(path, _NEEDED) if row["caseid"]]
    except MissingColumnError:
        return None


def _file_names(cell: str) -> list[str]:
    """The file names in a cell, which joins several by `&`; other words, such as 'not applicable', are dropped."""
    return [name.strip() for name in re.split(r"[&;,]", cell) if name.strip().lower().endswith(".png")]
