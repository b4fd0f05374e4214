"""The one reader of tables: CSV, TSV, workbooks and (with pyarrow) Parquet. Every row is read, or refused with its line.

separator     comma, semicolon or tab, whichever is most frequent in the first line; Excel's line `sep=;` names it
encoding      UTF-8 or, by its mark, UTF-16
refused       other encodings, two columns of one name, quotes that do not close, merged cells, cells of 100,000 characters,
              formulas whose value was not saved
"""

from __future__ import annotations

import csv
import itertools
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo.errors import IncompatibleError, UsageError, nearest
from mammozoo.text import decode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Row = dict[str, str]
Lines = list[tuple[int, list[str]]]
WORKBOOKS = (".xlsx", ".xlsm")
SUFFIXES = (".csv", ".tsv", *WORKBOOKS)
_CHUNK = 50_000  # rows that are Python texts at one time
_LONGEST = 100_000  # characters of a cell
_UNPACKED = 200_000_000  # bytes of a workbook


class MissingColumnError(UsageError):
    """A table lacks a column: it is another table, or a column has another name."""


@dataclass(frozen=True)
class Columns:
    """A table by columns: name → (N,) texts, and the (N,) lines of the file on which the rows start."""

    path: Path
    lines: npt.NDArray[np.intp]
    of: dict[str, npt.NDArray[np.str_]]

    def where(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> str:
        """`line 3`, or `3 rows, the first on line 7`, of these rows."""
        lines = self.lines[index]
        return f"line {lines[0]}" if len(lines) == 1 else f"{len(lines):,} rows, the first on line {lines[0]}"


def read_columns(path: Path) -> Columns:
    """All rows that are not empty, as `read_rows` reads them with `exact`, in the memory of their cells.

    Raises:
        UsageError: as `read_rows`, or a Parquet file without pyarrow.
        FileNotFoundError: there is no such file.
    """
    import numpy as np  # here, because help needs none

    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    records, merged = _table(path, None)
    numbers: list[int] = []
    first, header = next(records, (1, []))
    parts: list[list[npt.NDArray[np.str_]]] = [[] for _ in header]
    names = _checked_header(path, first, [cell.lower() for cell in header], (), merged)
    while rows := list(itertools.islice((row for row in records if any(row[1])), _CHUNK)):
        for line, cells in rows:
            _refuse_ragged(path, line, cells, header)
        numbers += [line for line, _ in rows]
        for part, column in zip(parts, zip(*(row[: len(header)] for _, row in rows), strict=True), strict=True):
            part.append(np.array(column, str))
    joined = (np.concatenate(part) if part else np.array([], str) for part in parts)
    found = {name: texts for name, texts in zip(names, joined, strict=True) if name}
    return Columns(path, np.array(numbers, np.intp), found)


def read_rows(path: Path, needed: Sequence[str], *, exact: bool = False) -> list[tuple[int, Row]]:
    """(line, column → cell) of each row that is not empty; names in lower case, names and cells stripped.

    Published tables have rows with fewer or more cells than columns: what is missing is empty. `exact` refuses them. Columns
    without a name are left out. Of a workbook the first sheet with the `needed` columns is read.

    Raises:
        MissingColumnError: it lacks one of the `needed` columns.
        UsageError: the file is no table, has two columns of one name, or a row that is refused.
    """
    records, merged = _table(path, needed)
    first, cells = next(records, (1, []))
    header = _checked_header(path, first, [cell.lower() for cell in cells], needed, merged)
    rows = []
    for line, cells in records:
        if not any(cells):
            continue
        if exact:
            _refuse_ragged(path, line, cells, header)
        filled = itertools.zip_longest(header, cells[: len(header)], fillvalue="")
        rows.append((line, {column: cell for column, cell in filled if column}))
    return rows


def _table(path: Path, needed: Sequence[str] | None) -> tuple[Iterator[tuple[int, list[str]]], str | None]:
    """(line, cells) of each record, and merged cells.

    Of a workbook the first sheet with the `needed` columns, or the longest one if nobody knows which are needed.
    """
    if path.suffix.lower() not in WORKBOOKS:
        return _lines(_read(path), path), None
    sheets = _sheets(path)
    if needed is None:
        lines, merged = max(sheets, key=lambda sheet: len(sheet[0]))
    else:
        lines, merged = next((sheet for sheet in sheets if {*needed} <= {*_header(sheet[0])}), sheets[0])
    return iter(lines), merged


def _parquet(path: Path) -> Columns:
    import numpy as np

    try:
        from pyarrow import parquet  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise UsageError(f"'{path}' is Parquet: install pyarrow, or save the table as CSV.") from None
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"Table '{path}' cannot be read: {str(error).splitlines()[0]}.") from None
    names = _checked_header(path, 1, [name.strip().lower() for name in table.column_names], (), None)
    columns = (np.array([_text(cell) for cell in column.to_pylist()], str) for column in table.columns)
    return Columns(path, np.arange(2, table.num_rows + 2), dict(zip(names, columns, strict=True)))


def _checked_header(path: Path, line: int, header: list[str], needed: Sequence[str], merged: str | None) -> list[str]:
    for column in needed:
        if column not in header:
            raise MissingColumnError(
                f"Table '{path}', line {line}: there is no column '{column}'.{nearest(column, header)} "
                f"Columns found: {', '.join(filter(None, header))[:200] or 'none'}. Needed: {', '.join(needed)}."
            )
    for place, column in enumerate(header):
        if column and column in header[:place]:
            both = f"columns {header.index(column) + 1} and {place + 1} are both called '{column}'"
            raise UsageError(f"Table '{path}', line {line}: {both}. Remove or rename one.")
    if merged:
        raise UsageError(f"Table '{path}': the cells {merged} are merged. Unmerge them, and fill each.")
    return header


def _refuse_ragged(path: Path, line: int, cells: list[str], header: list[str]) -> None:
    if len(cells) < len(header) or any(cells[len(header) :]):
        raise UsageError(
            f"Table '{path}', line {line}: {len(cells)} cells under {len(header)} columns. "
            "Put cells that hold the separator in double quotes."
        )


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that mammozoo has written, by column; texts as they are.

    Raises:
        FileNotFoundError: there is none.
        IncompatibleError: it is damaged.
    """
    try:
        lines = [*_records(_read(path), path, ",", strip=False)]
    except UsageError as error:
        raise IncompatibleError(str(error)) from None
    header = lines[0][1] if lines else []
    if len({*header}) < len(header):
        raise IncompatibleError(f"'{path}' is damaged: two of its columns have one name.")
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise IncompatibleError(f"'{path}' is damaged: line {line} has not as many cells as the header.")
    return [dict(zip(header, cells, strict=True)) for _, cells in lines[1:]]


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"Table '{path}' cannot be read: {error.strerror or error}.") from None
    if content.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise UsageError(f"Table '{path}' is a workbook of Excel. Name it .xlsx, or save it as CSV in UTF-8.")
    try:
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(
            f"Table '{path}', line {line}: this is not UTF-8 text ({error.reason}). Save it as CSV in UTF-8."
        ) from None
    if "\0" in text:
        line = text.partition("\0")[0].count("\n") + 1
        raise UsageError(
            f"Table '{path}', line {line}: it holds a NUL character, so it is not text. Save it as CSV in UTF-8."
        )
    return decode(text)


def _lines(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a table that somebody wrote; a line `sep=;` before them names the separator."""
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip()) == 5:
        return ((line + 1, cells) for line, cells in _records(rest, path, first[4]))
    return _records(text, path)


def _records(
    text: str, path: Path, delimiter: str | None = None, *, strip: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, cells) of each record."""
    delimiter = delimiter or max(",;\t", key=re.match(r"[^\r\n]*", text)[0].count)  # type: ignore[index]
    lines = (line[0] for line in re.finditer(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", text))  # in less memory than StringIO
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=strip, strict=True)
    start, before = 1, csv.field_size_limit(_LONGEST)
    try:
        for cells in reader:
            if strip and any(delimiter in cell and ("\n" in cell or "\r" in cell) for cell in cells):
                raise csv.Error(f"a cell in quotes goes on to line {reader.line_num}")
            if cells:
                yield start, [*map(_stripped, cells)] if strip else cells
            start = reader.line_num + 1
    except csv.Error as error:
        advice = f"Close every quote, and double those inside a cell; cells have up to {_LONGEST:,} characters"
        raise UsageError(f"Table '{path}', line {start}: {error}. {advice}.") from None
    finally:
        csv.field_size_limit(before)


def _header(lines: Lines) -> list[str]:
    return [cell.lower() for cell in lines[0][1]] if lines else []


def _sheets(path: Path) -> list[tuple[Lines, str | None]]:
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
        (number, [_text(cell) for cell in cells]) for number, cells in enumerate(sheet.iter_rows(values_only=True), 1)
    ]
    return lines, min(map(str, sheet.merged_cells.ranges), default=None)


def _text(cell: Any) -> str:
    """A cell as text: 3.0 as 3, an empty cell as an empty text."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else _stripped(str(cell))


def _stripped(cell: str) -> str:
    return cell.strip() if cell.isascii() else unicodedata.normalize("NFC", cell.strip())
