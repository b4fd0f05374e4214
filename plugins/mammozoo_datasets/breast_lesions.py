"""BrEaST: 256 breast ultrasound images of 256 patients, with masks, clinical data and confirmed labels.

A. Pawłowska et al., Scientific Data 11 (2024) 148, https://doi.org/10.7937/9WKK-Q141

    BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx      CaseID, Image_filename, Mask_tumor_filename, …
    BrEaST-Lesions_USG-images_and_masks/
      case001.png  case001_tumor.png  [case001_other1.png, …]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.errors import UsageError
from mammozoo_datasets.layout import nothing_found, some
from mammozoo_datasets.listing import files_under

_PUBLISHED = {"benign": 154, "malignant": 98, "normal": 4}
_NEEDED = ("caseid", "image_filename", "mask_tumor_filename", "classification")
_OTHER = "mask_other_filename"

Row = dict[str, str]


class Breast(Dataset):
    """BrEaST as its workbook lists it; a case is a patient, and the mask of a sample is that of its tumour.

    `meta` holds the other columns (birads, age, margin, …). What else is outlined in an image, `caseNNN_other1.png`, is
    named in `meta['mask_other_filename']` and belongs to no mask: it is not what the label is about.

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
        layout="""\
    BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx
    BrEaST-Lesions_USG-images_and_masks/
      case001.png  case001_tumor.png  [case001_other1.png], …""",
    )

    def samples(self) -> list[Sample]:
        """Every row of the workbook that has an image, in its order; `notes` says what is missing.

        Raises:
            NotFoundError: no workbook with the columns of BrEaST, or none of its images.
            UsageError: several such workbooks, one that cannot be read, a case listed twice, or another classification
                than benign, malignant or normal; with the row.
        """
        assert self.root is not None
        table = _workbook(self.root)
        if table is None:
            raise nothing_found(self.info.name, self.root, self.info.layout, self.info.access)
        where, rows = table
        files = {path.name.lower(): path.relative_to(self.root).as_posix() for path in files_under(self.root, {".png"})}
        samples: list[Sample] = []
        missing: list[str] = []
        absent: list[str] = []
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
            names = _names(row["mask_tumor_filename"])
            absent += [name for name in names if name.lower() not in files]
            masks = tuple(files[name.lower()] for name in names if name.lower() in files)
            meta = {column: cell for column, cell in row.items() if column not in _NEEDED and cell}
            if others := _names(row.get(_OTHER, "")):
                meta[_OTHER] = ";".join(files.get(name.lower(), name) for name in others)
            else:
                meta.pop(_OTHER, None)
            samples.append(Sample(image, label, patient=case, masks=masks, meta=meta))
        if not samples:
            raise nothing_found(
                self.info.name, self.root, self.info.layout, "The workbook is there, its images are not."
            )
        self.notes = _notes(samples, missing, absent)
        return samples


def _workbook(root: Path) -> tuple[Path, list[tuple[int, Row]]] | None:
    """The workbook that has the needed columns, and its rows with their numbers; None where there is none."""
    found = []
    for path in files_under(root, {".xlsx"}, depth=3):
        if path.name.startswith("~$"):  # a lock of Excel
            continue
        rows = _rows(path)
        if rows is not None:
            found.append((path, rows))
    if len(found) > 1:
        names = ", ".join(f"'{path.relative_to(root).as_posix()}'" for path, _ in found)
        raise UsageError(
            f"Data set 'breast': --root '{root}' holds {len(found)} workbooks: {names}. Point --root at one."
        )
    return found[0] if found else None


def _rows(path: Path) -> list[tuple[int, Row]] | None:
    """(row number, column → text) of the first sheet that has the needed columns; names in lower case, cells stripped."""
    from openpyxl import load_workbook  # here, because most users never meet a workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as error:
        raise UsageError(f"Workbook '{path}' cannot be read ({error}). Download it again.") from error
    try:
        for sheet in book.worksheets:
            lines = sheet.iter_rows(values_only=True)
            header = [_text(cell).lower() for cell in next(lines, ())]
            if not {*_NEEDED} <= {*header}:
                continue
            rows = [(n, dict(zip(header, map(_text, cells), strict=False))) for n, cells in enumerate(lines, 2)]
            return [(n, row) for n, row in rows if row["caseid"]]
    finally:
        book.close()
    return None


def _text(cell: Any) -> str:
    """A cell as text: 3.0 as 3, nothing as nothing."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _names(cell: str) -> list[str]:
    """File names in a cell, which joins several by `&`; words such as 'not applicable' are none."""
    return [name.strip() for name in re.split(r"[&;,]", cell) if name.strip().lower().endswith(".png")]


def _notes(samples: Sequence[Sample], missing: Sequence[str], absent: Sequence[str]) -> list[str]:
    notes = []
    found = Counter(sample.label for sample in samples)
    if found != _PUBLISHED:
        counts = ", ".join(f"{found[label]} of the published {n} {label}" for label, n in _PUBLISHED.items())
        notes.append(
            f"{len(samples)} images, published are {sum(_PUBLISHED.values())}: {counts}. "
            "Scores are not comparable with those on the whole set."
        )
    if missing:
        notes.append(f"{len(missing)} rows of the workbook have no image: {some(missing)}.")
    if absent:
        notes.append(f"{len(absent)} masks of the workbook are not there: {some(absent)}.")
    return notes
