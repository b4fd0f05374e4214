"""The records of CSV and TSV: their cells, and the lines of the file on which they start."""

from __future__ import annotations

import csv
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mammozoo.errors import UsageError
from mammozoo.text import decode

Block = tuple[list[int], list[list[str]]]  # the lines of the file on which records start, and their cells
_CHUNK = 20_000  # records that are Python texts at one time
_LONGEST = 100_000  # characters of a cell


def read_text(path: Path) -> str:
    """The text of a file; UsageError if it is a workbook, or neither UTF-8 nor UTF-16."""
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


def lines_of(text: str, path: Path) -> Iterator[Block]:
    """The records of a table that somebody wrote; a line `sep=;` before them names the separator."""
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip()) == 5:
        return (([line + 1 for line in lines], rows) for lines, rows in read_records(rest, path, first[4]))
    return read_records(text, path)


def read_records(text: str, path: Path, delimiter: str | None = None, *, strip: bool = True) -> Iterator[Block]:
    """Many records at a time, without empty lines; rows before one that is refused come first."""
    delimiter = delimiter or max(",;\t", key=re.match(r"[^\r\n]*", text)[0].count)  # type: ignore[index]
    ends = (line[0] for line in re.finditer(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", text))  # in less memory than StringIO
    reader = csv.reader(ends, delimiter=delimiter, skipinitialspace=strip, strict=True)
    start, before, error = 1, csv.field_size_limit(_LONGEST), None
    try:
        while error is None:
            rows: list[list[str]] = []
            try:
                rows.extend(itertools.islice(reader, _CHUNK))
            except csv.Error as raised:  # what was read before it is in `rows`
                error = raised
            if not rows and error is None:
                return
            lines = [*range(start, start + len(rows) + 1)]
            if error is not None or reader.line_num >= lines[-1]:  # a record may go on to the next line
                for place, cells in enumerate(rows):
                    broken = [cell for cell in cells if "\n" in cell or "\r" in cell]
                    lines[place + 1] = lines[place] + 1 + sum(len(re.findall(r"\r\n?|\n", cell)) for cell in broken)
                    if strip and any(delimiter in cell for cell in broken):
                        error = csv.Error(f"a cell in quotes goes on to line {lines[place + 1] - 1}")
                        rows, lines = rows[:place], lines[: place + 1]
                        break
            start = lines.pop()
            if [] in rows:
                kept = [(line, cells) for line, cells in zip(lines, rows, strict=True) if cells]
                lines, rows = [line for line, _ in kept], [cells for _, cells in kept]
            if rows:
                yield lines, rows
        advice = f"Close every quote, and double those inside a cell; cells have up to {_LONGEST:,} characters"
        raise UsageError(f"Table '{path}', line {start}: {error}. {advice}.")
    finally:
        csv.field_size_limit(before)


def singly(blocks: Iterator[Block], *, strip: bool = True) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each record."""
    for lines, rows in blocks:
        for line, cells in zip(lines, rows, strict=True):
            yield line, [*map(stripped, cells)] if strip else cells


def stripped(cell: str) -> str:
    """A cell without spaces around it, its letters composed as NFC has them."""
    return cell.strip() if cell.isascii() else unicodedata.normalize("NFC", cell.strip())


def strip_of(cells: Iterable[str]) -> Callable[[str], str]:
    """What strips these cells, the faster way if it can."""
    return str.strip if "".join(cells).isascii() else stripped
