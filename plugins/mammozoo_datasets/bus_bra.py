"""BUS-BRA: 1875 breast ultrasound images of 1064 patients, four scanners, biopsy labels, masks, official folds.

W. Gómez-Flores et al., Medical Physics 51 (2024) 3110, https://doi.org/10.5281/zenodo.8231412

Columns of `bus_data.csv`: ID, Case, Histology, Pathology, BIRADS, Device, Width, Height, Side, BBOX.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.published import count_notes, files_under, find_file, find_home, left_out, nothing_found
from mammozoo.errors import UsageError
from mammozoo.tables import Row, read_rows

_PUBLISHED = {"benign": 1268, "malignant": 607}
_TABLE = "bus_data.csv"
_NEEDED = ("id", "case", "pathology")


class BusBra(Dataset):
    """BUS-BRA by its table; `meta` holds the other columns (device, birads, …) and the official fold.

    Args:
        root: `BUSBRA`, or a folder that holds it.
        folds: the official cross-validation in `meta['fold']`, 5 or 10.

    Raises:
        UsageError: `folds` is another number, or the root holds several copies.
    """

    info = DatasetInfo(
        name="bus-bra",
        title="BUS-BRA, breast ultrasound from four scanners",
        modality="ultrasound",
        classes=tuple(_PUBLISHED),
        images=sum(_PUBLISHED.values()),
        patients=1064,
        url="https://doi.org/10.5281/zenodo.8231412",
        license="CC BY 4.0",
        citation="W. Gómez-Flores, M. J. Gregorio-Calas, W. Coelho de Albuquerque Pereira. BUS-BRA: A breast ultrasound "
        "dataset for assessing computer-aided diagnosis systems. Medical Physics 51 (2024) 3110–3123.",
        access="Download BUSBRA.zip from https://zenodo.org/records/8231412 and unpack.",
        marks=("bus_data.csv",),
        layout="""\
    BUSBRA/
      bus_data.csv  5-fold-cv.csv  10-fold-cv.csv
      Images/bus_0001-l.png, …
      Masks/mask_0001-l.png, …""",
    )

    def __init__(self, root: Path | None = None, folds: int = 5) -> None:
        super().__init__(root)
        if folds not in (5, 10):
            raise UsageError(f"Data set 'bus-bra' has official folds for 5 and 10; got folds={folds}.")
        self.root: Path = find_home(self.info, root, {_TABLE})
        self.folds = folds

    def samples(self) -> list[Sample]:
        """Every row of the table that has an image, in the order of the table; `notes` states what is missing.

        Raises:
            NotFoundError: there is no table, or none of its images.
            UsageError: a table lacks a column, lists an image twice, or states another pathology than benign or
                malignant; with the line.
        """
        table = find_file(self.root, _TABLE)
        if table is None:
            raise nothing_found(self)
        found = files_under(self.root, {".png"}, depth=2)
        files = {
            (path.parent.name.lower(), path.stem.lower()): path.relative_to(self.root).as_posix() for path in found
        }
        rows = _read(table, _NEEDED)
        folds, fold_notes = self._official(rows)
        samples, missing = [], []
        for row in rows:
            key = row["id"].lower()
            image = files.pop(("images", key), None)
            mask = files.pop(("masks", f"mask{key[3:]}"), None)
            if image is None:
                missing.append(row["id"])
                continue
            meta = {column: cell for column, cell in row.items() if column not in _NEEDED and cell}
            meta |= {"fold": folds[row["id"]]} if row["id"] in folds else {}
            masks = (mask,) if mask else ()
            samples.append(Sample(image, row["pathology"], row["case"] or None, masks, meta=meta))
        if not samples:
            raise nothing_found(self, "The table is there, its images are not.")
        strangers = sorted(name for (folder, _), name in files.items() if folder == "images")
        self.notes = [
            *count_notes(Counter(sample.label for sample in samples), _PUBLISHED),
            *left_out(missing, f"rows of '{_TABLE}' have no image"),
            *left_out(strangers, f"images left out, not in '{_TABLE}'"),
            *left_out([sample.image for sample in samples if not sample.masks], "images have no mask"),
            *fold_notes,
            *found.notes,
        ]
        return samples

    def _official(self, rows: Sequence[Row]) -> tuple[dict[str, str], list[str]]:
        """ID → official fold, and a note if some folds are unknown."""
        name = f"{self.folds}-fold-cv.csv"
        table = find_file(self.root, name)
        if table is None:
            return {}, [f"There is no '{name}': the official folds are not known."]
        listed = _read(table, ())
        columns = list(listed[0]) if listed else []
        fold = next((column for column in ("kfold", "fold") if column in columns), None)
        if fold is None or ("id" not in columns and len(listed) != len(rows)):
            raise UsageError(
                f"Table '{table}' must have a column 'kFold', and an 'ID' or as many rows as '{_TABLE}'; it has "
                f"{', '.join(columns) or 'no row'} in {len(listed)} rows. Restore the original file."
            )
        ids = [row["id"] for row in (listed if "id" in columns else rows)]
        folds = {key: row[fold] for key, row in zip(ids, listed, strict=True) if row.get(fold)}
        absent = [row["id"] for row in rows if row["id"] not in folds]
        return folds, left_out(absent, f"images have no official fold in '{name}'")


def _read(table: Path, needed: Sequence[str]) -> list[Row]:
    """The rows of a table; ids are checked, and of the table of images the pathology."""
    rows: list[Row] = []
    lines: dict[str, int] = {}
    for line, row in read_rows(table, needed):
        where = f"Table '{table}', line {line}"
        if "id" in row:
            row["id"] = row["id"].removesuffix(".png")
            if row["id"] in lines:
                raise UsageError(f"{where} lists '{row['id']}' again, after line {lines[row['id']]}. Remove one.")
            lines[row["id"]] = line
        if needed:
            row["pathology"] = row.get("pathology", "").lower()  # a truncated table ends in the middle of a row
            if row["pathology"] not in _PUBLISHED:
                raise UsageError(f"{where}: pathology '{row['pathology']}' is neither benign nor malignant.")
        rows.append(row)
    return rows
