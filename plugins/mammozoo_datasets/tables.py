"""Tables as people write and publish them: any separator, stray spaces and line ends in cells, columns by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mammozoo.errors import UsageError, nearest

Row = dict[str, str]


def read_rows(path: Path, needed: Sequence[str], *, exact: bool = False) -> Iterator[tuple[int, Row]]:
    """(line, column → cell) of each row that is not empty; names in lower case, names and cells stripped.

    Cells are separated by comma, semicolon or tab, whichever is most frequent in the first line. Published tables have rows with
    fewer or more cells than columns; `exact` refuses them.

    Raises:
        UsageError: the file is not UTF-8 text, lacks one of the `needed` columns, or has a row that `exact` refuses.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"Table '{path}' is not UTF-8 text ({error}). Save it as CSV in UTF-8.") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise UsageError(f"Table '{path}', line {reader.line_num}: {error}. Save it as CSV in UTF-8.") from error
    header = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    for column in needed:
        if column not in header:
            raise UsageError(
                f"Table '{path}', line 1: there is no column '{column}'.{nearest(column, header)} "
                f"Columns found: {', '.join(header)[:200] or 'none'}. Needed: {', '.join(needed)}."
            )
    for line, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if exact and len(cells) != len(header):
            raise UsageError(
                f"Table '{path}', line {line}: {len(cells)} cells under {len(header)} columns. "
                f"Put cells that hold '{delimiter}' in double quotes."
            )
        yield line, dict(zip(header, (cell.strip() for cell in cells), strict=False))
