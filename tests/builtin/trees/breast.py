"""BrEaST's tree, small: a workbook, images and masks."""

from collections.abc import Sequence
from pathlib import Path

from openpyxl import Workbook

from .drawing import picture, save, spot

COLUMNS = (
    "CaseID", "Image_filename", "Mask_tumor_filename", "Mask_other_filename", "Pixel_size", "Age", "Margin", "BIRADS",
    "Classification",
)  # fmt: skip
WORKBOOK = "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx"
Cell = str | int | float | None


def breast(root: Path, benign: int = 14, malignant: int = 13, normal: int = 4) -> Path:
    """That many cases of each class, every fourth with a second outline. Returns `root`."""
    home = root / "BrEaST-Lesions_USG-images_and_masks"
    rows: list[Sequence[Cell]] = [COLUMNS]
    labels = ["benign"] * benign + ["malignant"] * malignant + ["normal"] * normal
    for case, label in enumerate(labels, 1):
        name = f"case{case:03d}"
        save(home / f"{name}.png", picture(5000 + case))
        tumor = other = None
        if label != "normal":
            tumor = save(home / f"{name}_tumor.png", spot()).name
            if case % 4 == 0:
                others = [save(home / f"{name}_other{k}.png", spot(shift=5 * k)).name for k in (1, 2)]
                other = "&".join(others)
        birads = {"benign": 3, "malignant": "4c", "normal": 1}[label]
        rows.append((case, f"{name}.png", tumor, other, 0.007, 40 + case, "circumscribed", birads, label))
    write_workbook(root / WORKBOOK, rows)
    return root


def write_workbook(path: Path, rows: Sequence[Sequence[Cell]]) -> None:
    """A workbook with a first sheet of other content and the rows in the second."""
    book = Workbook()
    book.active.title = "about"
    sheet = book.create_sheet("data")
    for row in rows:
        sheet.append(list(row))
    book.save(path)
