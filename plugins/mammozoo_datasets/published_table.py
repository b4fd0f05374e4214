"""Tables as data sets publish them: stray spaces and line ends in cells, marks at the start, columns by their names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mammozoo.errors import UsageError

Row = dict[str, str]


def read_rows(path: Path, needed: Sequence[str], delimiter: str = ",") -> Iterator[tuple[int, Row]]:
    """(line, column → cell) of each row that is not empty; names in lower case, names and cells stripped.

    Raises:
        UsageError: it is no UTF-8 text, or one of the `needed` columns is not there.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"Table '{path}' is not UTF-8 text ({error}). Copy it again from its source.") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header = [cell.strip().lower() for cell in next(reader, [])]
    missing = [f"'{column}'" for column in needed if column not in header]
    if missing:
        raise UsageError(
            f"Table '{path}' has no column {', '.join(missing)}; its first line reads {', '.join(header)[:200] or 'nothing'}. "
            "It is another file than the one published, or was saved again in another form."
        )
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=False))


def find_tables(root: Path, pattern: str, depth: int = 3) -> list[Path]:
    """Files that match `pattern` in `root` or up to `depth` folders below, the highest first; hidden ones are left out."""
    found = [path for level in range(depth + 1) for path in sorted(root.glob("*/" * level + pattern))]
    return [path for path in found if path.is_file() and not path.name.startswith(".")]
