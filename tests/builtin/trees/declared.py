"""Small trees of the data sets that are declared in YAML alone, laid out as their documentation and public code have them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from openpyxl import Workbook

from mammozoo.files import write_table

from .dicom import write_dicom
from .drawing import picture, save, spot


def _workbook(path: Path, rows: Sequence[Sequence[object]]) -> None:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def _colour(mask: np.ndarray, label: str) -> np.ndarray:
    """Green for benign, red for malignant, black for normal."""
    return np.stack([mask * (label == "malignant"), mask * (label == "benign"), mask * 0], axis=2)


def bus_uclm(root: Path) -> Path:
    home, lines = root / "download" / "BUS-UCLM", ["Image;Label;Marks;Doppler;Combined"]
    for number, (patient, label) in enumerate((("ALWI", "Benign"), ("ALWI", "Normal"), ("FUHI", "Malignant"))):
        name = f"{patient}_{number:03}.png"
        save(home / "images" / name, picture(8000 + number))
        save(home / "masks" / name, _colour(spot(), label.lower()))
        lines.append(f"{name};{label};{('Yes', 'No')[number % 2]};No;No")
    (home / "INFO.csv").write_text("\n".join(lines))
    return root


def udiat_b(root: Path) -> Path:
    for number in range(1, 5):
        save(root / "BUS" / "original" / f"{number:06}.png", picture(8100 + number))
        save(root / "BUS" / "GT" / f"{number:06}.png", spot())
    _workbook(
        root / "BUS" / "DatasetB.xlsx",
        [("Image", "Type"), (1, "Benign"), (2, "Malignant"), (3, "Benign "), (4, "Malignant")],
    )
    return root


def bus_uc(root: Path) -> Path:
    for place, label in enumerate(("Benign", "Malignant")):
        for number in (1, 2, 10):
            for folder in (label, "All"):
                save(root / "BUS_UC" / folder / "images" / f"{number}.png", picture(8200 + 20 * place + number))
            save(root / "BUS_UC" / label / "masks" / f"{number}.png", spot())
    return root


def vindr_mammo(root: Path) -> Path:
    rows = []
    for number, (part, grade) in enumerate((("training", 1), ("training", 3), ("test", 4), ("test", 5))):
        study, image = f"{number // 2:032x}", f"{number + 90:032x}"
        write_dicom(root / "1.0.0" / "images" / study / f"{image}.dicom", picture(8300 + number))
        rows.append(
            {"study_id": study, "series_id": "5", "image_id": image, "laterality": "LR"[number % 2], "view_position": "CC",
             "breast_birads": f"BI-RADS {grade}", "breast_density": "DENSITY C", "split": part}
        )  # fmt: skip
    write_table(root / "1.0.0" / "breast-level_annotations.csv", rows)
    return root


def rsna_2022(root: Path) -> Path:
    rows = []
    for number in range(4):
        write_dicom(root / "train_images" / f"{10 + number // 2}" / f"{700 + number}.dcm", picture(8400 + number))
        rows.append(
            {"site_id": 2, "patient_id": 10 + number // 2, "image_id": 700 + number, "laterality": "LR"[number % 2], "view": "CC",
             "age": 61.0, "cancer": int(number == 3), "biopsy": 0, "invasive": 0, "BIRADS": "", "implant": 0, "density": "B",
             "machine_id": 49, "difficult_negative_case": False}
        )  # fmt: skip
    write_table(root / "train.csv", rows)
    return root


def cmmd(root: Path) -> Path:
    for patient, sides in (("D1-0001", "R"), ("D1-0002", "LR")):
        for number, (side, view) in enumerate([(side, view) for side in sides for view in ("CC", "MLO")], 1):
            path = (
                root
                / "manifest"
                / "CMMD"
                / patient
                / "07-18-2010-NA-NA-79377"
                / "1.000000-NA-70244"
                / f"1-{number}.dcm"
            )
            seed = 8500 + 10 * int(patient[-1]) + number
            write_dicom(path, picture(seed), PatientID=patient, ImageLaterality=side, ViewPosition=view)
    _workbook(
        root / "CMMD_clinicaldata_revision.xlsx",
        [("ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype"),
         ("D1-0001", "R", 44, 2, "calcification", "Benign", None), ("D1-0002", "L", 40, 2, "mass", "Malignant", "Luminal A")],
    )  # fmt: skip
    return root


def cdd_cesm(root: Path) -> Path:
    rows: list[Sequence[object]] = [
        ("Image_name", "Patient_ID", "Side", "Type", "Age", "BIRADS", "View", "Pathology Classification/ Follow up")
    ]
    for patient, label in enumerate(("Normal", "Benign", "Malignant"), 1):
        for code, kind, folder in (("DM", "DM", "Low energy"), ("CM", "CESM", "Subtracted")):
            name = f"P{patient}_L_{code}_MLO"
            seed = 8600 + 2 * patient + (code == "CM")
            save(
                root / "PKG - CDD-CESM" / f"{folder} images of CDD-CESM" / f"{name}{' ' * (patient == 2)}.jpg",
                picture(seed),
            )
            rows.append((f"{name} ", patient, "L", kind, 50, 1, "MLO", label))
    _workbook(root / "Radiology-manual-annotations.xlsx", rows)
    return root


def kau_bcmd(root: Path) -> Path:
    for number, folder in enumerate(("BIRAD1/b1", "Birad3/b3", "Birad4/b4", "Birad5/Birad5")):
        for side in "LR":
            save(root / folder / f"2018_BC{20 + number:05}_ CC_{side}.jpg", picture(8700 + 2 * number + (side == "R")))
    return root
