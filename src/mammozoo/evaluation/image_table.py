"""A table of images to predict, and the patients or breasts that its columns name.

path,patient,side
a/1.dcm,P01,L
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.errors import NotFoundError, UsageError, nearest
from mammozoo.tables import SUFFIXES, read_rows

_PATIENT = re.compile(r"(patient|subject|case|woman)[\W_]*(id|no|number|nr)?")


@dataclass(frozen=True)
class Listing:
    """Images that a table lists, and its columns: name → (N,) texts."""

    table: Path
    files: list[Path]
    columns: dict[str, npt.NDArray[np.str_]]

    def units(self, by: str) -> npt.NDArray[np.str_]:
        """(N,) names of the units, empty where unknown; UsageError if no column names them."""
        from mammozoo.evaluation.predictions import unit_names  # here, because it imports much

        columns = self.columns
        if "patient" not in columns and (own := next(filter(_PATIENT.fullmatch, columns), None)):
            columns = {**columns, "patient": columns[own]}
        if (names := unit_names(columns, by)) is None or not (names != "").any():
            raise UsageError(
                f"Table '{self.table}' names no {by}.{nearest(by, columns)} Columns: {', '.join(columns)}. A breast is a column "
                "'breast', or 'patient' and 'side' (or L and R in every name, as W01_L_CC.png)."
            )
        return names


def table_of(images: Any) -> Path | None:
    """The table that `images` is, if it is the path of one.

    Raises:
        UsageError: a table among other images.
    """
    named = [images] if isinstance(images, str | Path) else images if isinstance(images, Sequence) else []
    paths = [Path(one) for one in named if isinstance(one, str | Path)]
    tables = [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
    if tables and len(named) > 1:
        raise UsageError(f"'{tables[0]}' is a table of images. Give it alone, or the images.")
    return tables[0] if tables else None


def read_listing(table: Path) -> Listing:
    """The rows of a table with the column `path`, relative to the table's folder.

    Raises:
        UsageError: no table, no such column, or an empty path.
        NotFoundError: it lists files that do not exist.
    """
    rows = read_rows(table, ["path"], exact=True)
    if empty := [str(line) for line, row in rows if not row["path"]]:
        raise UsageError(f"Table '{table}', line {empty[0]}: the path is empty. Fill it in or remove the row.")
    files = [table.parent / row["path"].replace("\\", "/") for _, row in rows]
    missing = [f"'{file}'" for file in files if not os.path.isfile(file)]  # noqa: PTH113 - False where Path raises
    if not files:
        raise NotFoundError(f"Table '{table}' lists no image.")
    if missing:
        some = ", ".join(missing[:5])
        raise NotFoundError(
            f"Table '{table}' lists {len(missing)} files that do not exist: {some}. Paths are relative to its folder."
        )
    return Listing(table, files, {name: np.array([row[name] for _, row in rows], str) for name in rows[0][1]})
