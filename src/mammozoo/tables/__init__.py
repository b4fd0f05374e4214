"""The one reader of tables: CSV, TSV, workbooks and (with pyarrow) Parquet. Every row is read, or refused with its line.

separator     comma, semicolon or tab, whichever is most frequent in the first line; Excel's line `sep=;` names it
encoding      UTF-8 or, by its mark, UTF-16
refused       other encodings, two columns of one name, quotes that do not close, merged cells, cells of 100,000 characters,
              formulas whose value was not saved
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo.errors import IncompatibleError, UsageError, nearest
from mammozoo.tables.records import Block, lines_of, read_records, read_text, singly, strip_of, stripped
from mammozoo.tables.workbooks import Lines, sheets_of, text_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Row = dict[str, str]
WORKBOOKS = (".xlsx", ".xlsm")
SUFFIXES = (".csv", ".tsv", *WORKBOOKS)


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
    blocks, merged = _table(path, None)
    names: list[str] = []
    parts: list[list[npt.NDArray[np.str_]]] = []
    numbers: list[npt.NDArray[np.intp]] = [np.array([], np.intp)]
    for lines, rows in blocks:
        if not parts:
            header = [stripped(cell).lower() for cell in rows[0]]
            names, parts = _checked_header(path, lines[0], header, (), merged), [[] for _ in header]
            lines, rows = lines[1:], rows[1:]
        if {*map(len, rows)} != {len(names)}:  # with more or fewer cells than columns: without any, or refused
            both = [(line, [*map(stripped, cells)]) for line, cells in zip(lines, rows, strict=True)]
            both = [(line, cells) for line, cells in both if any(cells)]
            for line, cells in both:
                _refuse_ragged(path, line, cells, names)
            lines, rows = [line for line, _ in both], [cells[: len(names)] for _, cells in both]
        columns = [np.array([*map(strip_of(column), column)], str) for column in zip(*rows, strict=True)]
        full = np.logical_or.reduce([column != "" for column in columns]) if columns else np.array([], bool)
        numbers.append(np.array(lines, np.intp)[full])
        for part, column in zip(parts, columns, strict=False):
            part.append(column if full.all() else column[full])
    found = {}
    for name, part in zip(names, parts, strict=True):
        if name:
            found[name] = np.concatenate(part) if part else np.array([], str)
        part.clear()  # a column at a time is there twice
    return Columns(path, np.concatenate(numbers), found)


def read_rows(path: Path, needed: Sequence[str], *, exact: bool = False) -> list[tuple[int, Row]]:
    """(line, column → cell) of each row that is not empty; names in lower case, names and cells stripped.

    Published tables have rows with fewer or more cells than columns: what is missing is empty. `exact` refuses them. Columns
    without a name are left out. Of a workbook the first sheet with the `needed` columns is read.

    Raises:
        MissingColumnError: it lacks one of the `needed` columns.
        UsageError: the file is no table, has two columns of one name, or a row that is refused.
    """
    blocks, merged = _table(path, needed)
    each = singly(blocks)
    first, cells = next(each, (1, []))
    header = _checked_header(path, first, [cell.lower() for cell in cells], needed, merged)
    rows = []
    for line, cells in each:
        if not any(cells):
            continue
        if exact:
            _refuse_ragged(path, line, cells, header)
        filled = itertools.zip_longest(header, cells[: len(header)], fillvalue="")
        rows.append((line, {column: cell for column, cell in filled if column}))
    return rows


def _table(path: Path, needed: Sequence[str] | None) -> tuple[Iterator[Block], str | None]:
    """The records, and merged cells.

    Of a workbook the first sheet with the `needed` columns, or the longest one if nobody knows which are needed.
    """
    if path.suffix.lower() not in WORKBOOKS:
        return lines_of(read_text(path), path), None
    sheets = sheets_of(path)
    if needed is None:
        lines, merged = max(sheets, key=lambda sheet: len(sheet[0]))
    else:
        lines, merged = next((sheet for sheet in sheets if {*needed} <= {*_header(sheet[0])}), sheets[0])
    return iter([([line for line, _ in lines], [cells for _, cells in lines])] if lines else []), merged


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
    columns = (np.array([text_of(cell) for cell in column.to_pylist()], str) for column in table.columns)
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
        lines = [*singly(read_records(read_text(path), path, ",", strip=False), strip=False)]
    except UsageError as error:
        raise IncompatibleError(str(error)) from None
    header = lines[0][1] if lines else []
    if len({*header}) < len(header):
        raise IncompatibleError(f"'{path}' is damaged: two of its columns have one name.")
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise IncompatibleError(f"'{path}' is damaged: line {line} has not as many cells as the header.")
    return [dict(zip(header, cells, strict=True)) for _, cells in lines[1:]]


def _header(lines: Lines) -> list[str]:
    return [cell.lower() for cell in lines[0][1]] if lines else []
