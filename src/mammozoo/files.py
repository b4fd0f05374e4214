"""Atomic writing of files: a reader never sees a partial one, and nothing of the user's is replaced."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mammozoo.errors import AccessError, ConflictError, FailedError, MammozooError, UsageError
from mammozoo.tables import read_table as read_table
from mammozoo.text import encode

#: How the files begin that commands write, by what they are; a command may replace an earlier one of its own.
OWN = {
    "predictions": rb"file,label,[^\n]*threshold,warnings,error\n",
    "scored images": rb"sample,group,patient,lesion,fold,part,label,decision,threshold,",
    "page of pairs": rb"<!doctype html>[^\0]*?<title>Check of ",
    "report": rb"<!doctype html>[^\0]*?: report of a mammozoo run</title>",
    "blocks.csv": rb"number,block,channels,height,width,active",
    "shifts.csv": rb"block,tensor,numbers,mean,largest",
    "diagnosis.svg": rb"<\?xml [^\0]*?Matplotlib",
    "diagnosis.png": rb"\x89PNG[\s\S]*?Software\0Matplotlib",
    "table.md": rb"# [^\0]*?\nOf the paper: ",
    "table.csv": rb"row,metric,reported,obtained,",
    "table.json": rb"\{\n  \"schema\": 1,",
    "heat map": rb"\x93NUMPY",
    "overlay": rb"\x89PNG",  # beside its heat map
}


def refuse_to_replace(
    path: Path, own: str | None, inputs: Iterable[Path | None] = (), *, option: str = "--out"
) -> None:
    """Raise ConflictError if writing `path` would take something away: every command that writes asks here, before it works.

    `path` may not be one of `inputs`, nor lie in a folder among them. What is there already must be empty, or a file as `OWN`
    says of `own`, that no run or model keeps; None allows none. `option` is the one that named it.
    """
    advice = f"It would be changed; nothing was written. Choose another {option}."
    target = path.resolve()
    for given in (place.resolve() for place in inputs if place is not None):
        if target == given:
            raise ConflictError(f"'{path}' is an input of this command. {advice}")
        if given.is_dir() and target.is_relative_to(given):
            raise ConflictError(f"'{path}' lies in '{given}', which this command reads. {advice}")
    try:
        if not path.exists():
            return
        if path.is_file():
            with path.open("rb") as handle:
                begin = handle.read(8192)
            kept = path.suffix == ".csv" and path.with_name("config.json").exists()
            if not begin or (own is not None and not kept and re.match(OWN[own], begin)):
                return
    except OSError as error:
        raise disk_error(error, path) from error
    what = f"not {own} of an earlier call" if own else "not replaced"
    raise ConflictError(f"'{path}' is there already: {what}. {advice}")


def given_path(text: str | Path) -> Path:
    """A path as a user gives it, `~` replaced; UsageError if it is empty or no path of this machine."""
    if not str(text):
        raise UsageError("A path is empty. Is a variable of the shell not set? Name a file or folder.")
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, PermissionError):
            return path
        raise UsageError(
            f"'{str(text)[:80]}' is no path of this machine: {getattr(error, 'strerror', None) or error}."
        ) from None
    return path


def path_error(error: BaseException) -> MammozooError | None:
    """The error to report if a path cannot be reached, whatever was asked of it; None for any other error."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return UsageError(f"'{str(error.filename)[:80]}' is no path of this machine: {error.strerror}.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessError(f"Cannot reach '{error.filename}': {error.strerror}. Check its permissions.")
    if error.errno in (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN):
        return FailedError(
            f"Cannot read '{error.filename}': {error.strerror}. Is the disk or the network drive still there?"
        )
    return None


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
    """`write_bytes` for UTF-8 text with Unix line ends, as `text.encode` gives it."""
    return write_bytes(path, encode(content))


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


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
