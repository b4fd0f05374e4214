"""Atomic writing of files: a reader never sees a partial one."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mammozoo.errors import AccessError, FailedError, MammozooError


def disk_error(error: OSError, path: Path) -> MammozooError:
    """The error to report for an `OSError` while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FailedError(f"No space left to write '{path}'. Free some, or choose another --out folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return AccessError(f"Cannot write '{path}': {error.strerror}. Choose another --out folder.")
    return FailedError(f"Cannot write '{path}': {error.strerror or error}.")


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path` atomically: a reader sees the old file or the whole new one.

    Raises:
        AccessError: the folder is not writable.
        FailedError: the disk is full. Neither leaves a temporary file behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, content: str) -> Path:
    """`write_bytes` for UTF-8 text with Unix line ends."""
    return write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> Path:
    """`write_bytes` for JSON, indented, keys in the order given."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows with the same keys as CSV, atomically."""
    rows = list(rows)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return write_text(path, text.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that `write_table` has written, by column; ValueError if it is none."""
    with path.open(encoding="utf-8", newline="") as handle:
        try:
            rows = list(csv.DictReader(handle))
        except csv.Error as error:
            raise ValueError(str(error)) from None
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(f"row {number} has not as many cells as there are columns")
    return rows


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
