"""BUS-BRA's tree, small: a table, official folds, images and masks."""

from pathlib import Path

from mammozoo.files import write_table as write_table

from .drawing import picture, save, spot

COLUMNS = ("ID", "Case", "Histology", "Pathology", "BIRADS", "Device", "Width", "Height", "Side", "BBOX")


def bus_bra(root: Path, patients: int = 12, columns: tuple[str, ...] = COLUMNS) -> Path:
    """`patients` of each class, every third with a second image; columns in the order given. Returns `root`."""
    home = root / "BUSBRA"
    rows = []
    for case in range(1, 2 * patients + 1):
        malignant = case > patients
        for side in ("l", "r") if case % 3 == 0 else ("l",):
            name = f"bus_{case:04d}-{side}"
            save(home / "Images" / f"{name}.png", picture(4000 + 2 * case + (side == "r")))
            save(home / "Masks" / f"mask_{case:04d}-{side}.png", spot())
            rows.append(
                {
                    "ID": name, "Case": str(case), "Histology": "carcinoma" if malignant else "fibroadenoma",
                    "Pathology": "malignant" if malignant else "benign", "BIRADS": "5" if malignant else "3",
                    "Device": ("GE LOGIQ 7", "Toshiba Xario")[case % 2], "Width": "64", "Height": "48", "Side": side,
                    "BBOX": "[21,16,21,16]",
                }
            )  # fmt: skip
    write_table(home / "bus_data.csv", [{column: row[column] for column in columns} for row in rows])
    for folds in (5, 10):
        listed = [{"ID": row["ID"], "kFold": str(int(row["Case"]) % folds + 1)} for row in rows]
        write_table(home / f"{folds}-fold-cv.csv", listed)
    return root
