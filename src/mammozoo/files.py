"""Atomic writing of files: a reader never sees a partial one, nothing of the user's is replaced; and locks between processes."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import itertools
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mammozoo.errors import (
    AccessError,
    ConflictError,
    FailedError,
    MammozooError,
    NotVerifiedError,
    UsageError,
    nearest,
)
from mammozoo.tables import read_table as read_table
from mammozoo.text import encode

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: How the files begin that commands write, by what they are; a command may replace an earlier one of its own.
OWN = {
    "predictions": rb"(level,images,)?file,label,[^\n]*threshold,(agreement,)?warnings,error\n",
    "scored images": rb"sample,group,patient,lesion,fold,part,label,decision,threshold[,\r\n]",
    "page of pairs": rb"(?i)<!doctype html>[^\0]*?<title>Check of ",
    "contact sheet": rb"(?i)<!doctype html>[^\0]*?<title>Contact sheet of ",
    "report": rb"(?i)<!doctype html>[^\0]*?: report of (a mammozoo run|predictions)</title>",
    "supplement": rb"# [^\n]*: supplement of a mammozoo run\n",
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
    raise ConflictError(f"'{path}' already exists: {what}. {advice}")


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
            f"'{str(text)[:80]}' is not a valid path on this machine: {getattr(error, 'strerror', None) or error}."
        ) from None
    return path


def absent(path: str | Path) -> str:
    """A hint where there is nothing at `path`: the folder in which it was looked for, and a name there that is like it."""
    path = Path(path)
    if os.sep == "/" and "\\" in str(path):
        return " Write paths with / here; below WSL the drive C: is /mnt/c."
    with contextlib.suppress(OSError):
        there = next(folder for folder in path.parents if folder.is_dir())
        first = path.relative_to(there).parts[0]
        names = [entry.name for entry in itertools.islice(os.scandir(there), 10_000)]
        return f" The folder '{there.resolve()}' holds no '{first}'.{nearest(first, names)}"
    return ""


def path_error(error: BaseException) -> MammozooError | None:
    """The error to report if a path cannot be reached, whatever was asked of it; None for any other error."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return UsageError(f"'{str(error.filename)[:80]}' is not a valid path on this machine: {error.strerror}.")
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
    return write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows with the same keys as CSV, atomically."""
    return write_text(path, table_text(rows))


def table_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """What `write_table` writes."""
    rows = list(rows)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def has_digest(content: bytes, digest: str) -> bool:
    """Whether `content` has a SHA-256 (64 hexadecimal digits) or git's blob id (40)."""
    if len(digest) == 64:
        return hashlib.sha256(content).hexdigest() == digest
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == digest


#: Path → hash of the files that a zoo or the Hub has promised and this process has checked.
_promised: dict[Path, str] = {}


def promise(path: Path, digest: str) -> None:
    """From now on `read_promised` gives the content of `path` only if it has this hash, as `has_digest` takes it."""
    _promised[path.absolute()] = digest


def read_promised(path: Path) -> bytes | None:
    """The content of a file with a promised hash; None without a promise.

    What was checked may have been exchanged since: so the very bytes that are used are hashed, and not the file before it is read.

    Raises:
        NotVerifiedError: it has changed since it was checked.
    """
    digest = _promised.get(path.absolute())
    if digest is None:
        return None
    content = path.read_bytes()
    if not has_digest(content, digest):
        raise NotVerifiedError(
            f"'{path}' has changed since it was checked. Try again; if that does not help, get it again."
        )
    return content


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder and below, links not followed; those that go meanwhile are left out."""
    total = 0
    for place, _, names in os.walk(folder):  # which passes over a folder that has just gone; `rglob` raises
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


@contextlib.contextmanager
def locked(
    path: Path, *, patience: float = 60.0, signs: Callable[[], object] = lambda: None, shared: bool = False
) -> Iterator[bool]:
    """Hold the lock file `path`, which is removed afterwards; of the processes that ask for it one at a time has it.

    Those that ask for it `shared` have it together, while nobody has it alone, and leave the file there. Yields False where there
    are no locks: on Windows, on some network drives, in a read-only folder.

    Raises:
        TimeoutError: another process has held it for `patience` seconds, in which `signs()` did not change.
    """
    descriptor = _lock(path, patience, signs, shared)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                if not shared:
                    path.unlink()  # before the lock is given up: who waits for it sees that the file is gone, and asks anew
            os.close(descriptor)


def _lock(path: Path, patience: float, signs: Callable[[], object], shared: bool) -> int | None:
    """The open lock file; None where there are no locks."""
    since, seen = time.monotonic(), signs()
    while fcntl is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # its holder has just removed it
            pass
        except BlockingIOError:
            if time.monotonic() - since >= patience:
                since, before, seen = time.monotonic(), seen, signs()
                if seen == before:
                    os.close(descriptor)
                    raise TimeoutError(f"'{path}' is held by another process") from None
            time.sleep(0.02)
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)
    return None
