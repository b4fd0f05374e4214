"""CBIS-DDSM in small: the four tables with their oddities, and the three layouts on disk."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from .dicom import breast, write_dicom

SHAPE = (60, 48)
Layout = Literal["tables", "retriever", "jpeg"]
_COMMON = "left or right breast,image view,abnormality id,abnormality type"
_HEADERS = {
    "mass": f"patient_id,breast_density,{_COMMON},mass shape,mass margins",
    "calc": f"patient_id,breast density,{_COMMON},calc type,calc distribution",
}
_ENDS = "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"


@dataclass(frozen=True)
class Row:
    """A lesion to be written; `box` (left, top, right, bottom) is where its mask is white, None for no mask file."""

    kind: str
    part: str
    patient: str
    pathology: str
    side: str = "LEFT"
    view: str = "CC"
    number: int = 1
    density: str = "2"
    box: tuple[int, int, int, int] | None = (10, 20, 30, 40)
    mask_shape: tuple[int, int] = SHAPE
    swapped: bool = False

    @property
    def case(self) -> str:
        part = "Training" if self.part == "train" else "Test"
        return f"{self.kind.capitalize()}-{part}_{self.patient}_{self.side}_{self.view}"


def rows() -> list[Row]:
    """Twelve patients a class in train and six in test, masses and calcifications, one patient in both parts."""
    found = []
    for number in range(36):
        part = "test" if number % 3 == 2 else "train"
        pathology = ("MALIGNANT", "BENIGN", "MALIGNANT", "BENIGN_WITHOUT_CALLBACK")[(number // 3) % 4]
        for kind in ("mass", "calc"):
            patient = f"P_{number + (0 if kind == 'mass' else 100):05d}"
            left = 4 + number % 8
            box = (left, 15, left + 20, 35)
            found.append(Row(kind, part, patient, pathology, "RIGHT", box=box, swapped=number % 5 == 0))
    shared = [Row("calc", "train", "P_00002", "BENIGN"), Row("calc", "train", "P_00002", "BENIGN", number=2)]
    return [*found, *shared]


def cbis_ddsm(root: Path, layout: Layout = "tables", lesions: list[Row] | None = None) -> Path:
    """Write images, masks, cut-outs and tables under `root` as `layout` has them."""
    chosen = rows() if lesions is None else lesions
    for row in chosen:
        _write(root, row, layout)
    for kind in ("mass", "calc"):
        for part in ("train", "test"):
            of_table = [row for row in chosen if (row.kind, row.part) == (kind, part)]
            if of_table:
                path = root / ("csv" if layout == "jpeg" else ".") / f"{kind}_case_description_{part}_set.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_table(kind, of_table), encoding="utf-8")
    return root


def series(row: Row, what: str) -> str:
    digits = "".join(str(ord(letter)) for letter in f"{row.case}{what}{row.number if what == 'lesion' else ''}")
    return f"1.3.6.1.4.1.9590.100.1.2.{digits}"


def _write(root: Path, row: Row, layout: Layout) -> None:
    rng = np.random.default_rng([*map(ord, row.case)])
    box = row.box or (10, 20, 30, 40)
    film = breast(rng, SHAPE, 0.7 if row.pathology == "MALIGNANT" else 0.3, box)
    mask = np.zeros(row.mask_shape, np.uint8)
    high, wide = row.mask_shape[0] / SHAPE[0], row.mask_shape[1] / SHAPE[1]
    mask[int(box[1] * high) : int(box[3] * high), int(box[0] * wide) : int(box[2] * wide)] = 255
    cut = film[max(box[1] - 2, 0) : box[3] + 2, max(box[0] - 2, 0) : box[2] + 2]
    if layout == "jpeg":
        folder = root / "jpeg" / series(row, "lesion")
        _jpeg(root / "jpeg" / series(row, "image") / "1-263.jpg", film)
        if row.box:
            _jpeg(folder / "1-248.jpg", mask / 255)
        _jpeg(folder / "2-249.jpg", cut)
        return
    if layout == "tables":
        image = root / "CBIS-DDSM" / row.case / series(row, "study") / series(row, "image") / "000000.dcm"
        folder = root / "CBIS-DDSM" / f"{row.case}_{row.number}" / series(row, "study") / series(row, "lesion")
        names = ("000000.dcm", "000001.dcm")
    else:
        day = "08-29-2017-DDSM"
        image = root / "CBIS-DDSM" / row.case / f"{day}-65980" / "1.000000-full mammogram images-50917" / "1-1.dcm"
        folder = root / "CBIS-DDSM" / f"{row.case}_{row.number}" / f"{day}-94942" / "1.000000-ROI mask images-54168"
        names = ("1-1.dcm", "1-2.dcm")
    if not image.exists():
        write_dicom(image, (film * 65535).astype(np.uint16), Modality="MG", PatientID=row.case)
    write_dicom(folder / names[row.swapped], (cut * 65535).astype(np.uint16), PatientID=f"{row.case}_{row.number}")
    if row.box:
        write_dicom(folder / names[not row.swapped], mask, PatientID=f"{row.case}_{row.number}")


def _jpeg(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 255).astype(np.uint8)).save(path, quality=90)


def _table(kind: str, of_table: list[Row]) -> str:
    """A table whose last path, as in the published ones, ends with a line break inside its quotes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(f"{_HEADERS[kind]},{_ENDS}".split(","))
    for row in of_table:
        writer.writerow([*_cells(kind, row)])
    return text.getvalue()


def _cells(kind: str, row: Row) -> Iterator[str]:
    yield from (row.patient, row.density, row.side, row.view, str(row.number))
    yield from (("mass", "OVAL", "CIRCUMSCRIBED") if kind == "mass" else ("calcification", "AMORPHOUS", "CLUSTERED"))
    yield from ("4", row.pathology, "3", f"{row.case}/{series(row, 'study')}/{series(row, 'image')}/000000.dcm")
    lesion = f"{row.case}_{row.number}/{series(row, 'study')}/{series(row, 'lesion')}"
    crop, mask = ("000000", "000001") if kind == "mass" else ("000001", "000000")
    yield f"{lesion}/{crop}.dcm" + ("\n" if kind == "calc" else "")
    yield f"{lesion}/{mask}.dcm" + ("\n" if kind == "mass" else "")
