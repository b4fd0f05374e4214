"""The sheets of a workbook."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

from mammozoo.errors import UsageError
from mammozoo.tables.records import stripped

Lines = list[tuple[int, list[str]]]
_UNPACKED = 200_000_000  # bytes of a workbook


def sheets_of(path: Path) -> list[tuple[Lines, str | None]]:
    """(row number, cells) of each sheet of a workbook, and merged cells in it."""
    from openpyxl import load_workbook  # here, because most users have no workbooks

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _UNPACKED:
                raise UsageError(
                    f"Workbook '{path}' unpacks to more than {_UNPACKED // 10**6} MB. Save the table as CSV in UTF-8."
                )
            formulas = any(re.search(rb"<f[ >]", archive.read(name)) for name in archive.namelist() if "sheet" in name)
        book = load_workbook(path, data_only=True)
        if formulas:
            _refuse_unsaved(path, book, load_workbook(path))
        sheets = [_sheet(sheet) for sheet in book.worksheets]
    except UsageError:
        raise
    except Exception as error:  # a damaged workbook raises nearly anything
        reason = f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        raise UsageError(f"Workbook '{path}' {reason}. Copy it again, or save the table as CSV in UTF-8.") from error
    return sheets or [([], None)]


def _refuse_unsaved(path: Path, values: Any, formulas: Any) -> None:
    """Raise UsageError for a formula whose value is not in the file, as scripts write them: its cell would be empty."""
    for sheet in formulas.worksheets:
        for cells in sheet.iter_rows():
            for cell in cells:
                if cell.data_type == "f" and values[sheet.title][cell.coordinate].value is None:
                    raise UsageError(
                        f"Workbook '{path}': cell {cell.coordinate} of '{sheet.title}' is a formula without its value. Open "
                        "and save it in a spreadsheet program, or save the values."
                    )


def _sheet(sheet: Any) -> tuple[Lines, str | None]:
    lines = [
        (number, [text_of(cell) for cell in cells]) for number, cells in enumerate(sheet.iter_rows(values_only=True), 1)
    ]
    return lines, min(map(str, sheet.merged_cells.ranges), default=None)


def text_of(cell: Any) -> str:
    """A cell as text: 3.0 as 3, an empty cell as an empty text."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else stripped(str(cell))
