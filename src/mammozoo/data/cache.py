"""Arrays that take long to compute, stored on disk under a key of their inputs, and memory-mapped when they are read.

    <folder>/arrays/<key>/entry.json       the inputs; size and SHA-256 of every file
    <folder>/arrays/<key>/<name>.npy       one array

The key is the SHA-256 of the inputs. An entry is written to a temporary folder, synced and renamed. So any number of processes
may write at once: the first one wins, and nobody reads half an entry. If an entry cannot be stored (a full disk, a read-only
folder), the caller computes the arrays each time, and the log says so once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.files import given_path, sha256

log = logging.getLogger(__name__)

#: Bytes that all entries may take together, unless `MAMMOZOO_CACHE_GB` states another limit; 0 turns caching off.
LIMIT = 20 * 10**9
_LEFT_FREE = 10**9  # bytes of the disk that stay free
_ABANDONED = 24 * 3600  # age in seconds at which the temporary folder of a killed process is removed

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

#: Entries that this process has opened, with the inode of their `entry.json`. Their bytes are checked; they are never evicted.
_opened: dict[Path, int] = {}


@dataclass(frozen=True)
class Stream:
    """An array that is written while it is computed: `parts` along the first axis, in order, which fill `shape`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    parts: Iterable[Array]


def cache_folder() -> Path | None:
    """`MAMMOZOO_CACHE`, or `~/.cache/mammozoo`; None without a home folder. The folder need not exist."""
    if given := os.environ.get("MAMMOZOO_CACHE"):
        return given_path(given)
    try:
        return Path.home() / ".cache" / "mammozoo"
    except RuntimeError:
        return None


def key_of(description: Mapping[str, Any]) -> str:
    """The key of the arrays that `description` determines: 64 hexadecimal digits.

    TypeError or ValueError if it is not plain JSON, so that its text may differ between processes.
    """
    text = json.dumps(description, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The entries below one folder, at most `limit` bytes together; the least recently used are removed first."""

    def __init__(self, folder: Path | None = None, limit: int | None = None):
        """`folder` and `limit` default to the environment's."""
        root = folder or cache_folder()
        self.limit = _limit() if limit is None else limit
        self.folder = root / "arrays" if root is not None and self.limit > 0 else None

    def get(self, description: Mapping[str, Any]) -> Arrays | None:
        """The arrays stored for `description`, read-only and memory-mapped; None if there are none.

        A process compares the bytes of an entry with their SHA-256 once (about 2 GB/s). A damaged entry is removed.
        """
        if self.folder is None:
            return None
        entry = self.folder / key_of(description)
        try:
            return _read(entry) if entry.is_dir() else None
        except FileNotFoundError:  # incomplete, or removed by another process a moment ago
            _remove(entry)
        except OSError as error:
            _warn_once(f"No cache: cannot read below '{self.folder}' ({error.strerror or error}); computing each time.")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("Cache entry '%s' is damaged (%s); it is removed and computed again.", entry, error)
            _remove(entry)
        return None

    def remove(self, description: Mapping[str, Any]) -> None:
        """Remove the entry of `description`, if there is one."""
        if self.folder is not None:
            _remove(self.folder / key_of(description))

    def put(self, description: Mapping[str, Any], arrays: Mapping[str, Array | Stream]) -> Arrays | None:
        """Store arrays for `description` and return them memory-mapped; None if they cannot be stored.

        If another process stored the entry in the meantime, its arrays are returned. The parts of a `Stream` may be used up in
        either case. ValueError if they do not fill its shape.
        """
        if self.folder is None:
            return None
        streams = {
            name: a if isinstance(a, Stream) else Stream(a.shape, a.dtype, [a] if a.size else [])
            for name, a in arrays.items()
        }
        entry = self.folder / key_of(description)
        temporary = self.folder / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._make_room(sum(math.prod(s.shape) * s.dtype.itemsize for s in streams.values())):
                return None
            temporary.mkdir()
            files = {name: _write(temporary / f"{name}.npy", stream) for name, stream in streams.items()}
            with (temporary / "entry.json").open("w", encoding="utf-8") as handle:
                json.dump({"made_from": description, "files": files}, handle, indent=2)
                handle.flush()
                os.fsync(handle.fileno())
            try:
                temporary.rename(entry)
            except OSError:
                if not entry.is_dir():  # otherwise another process was first
                    raise
        except OSError as error:
            reason = error.strerror or error
            _warn_once(f"No cache: cannot write below '{self.folder}' ({reason}); computing each time.")
            return None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.get(description)

    def _make_room(self, wanted: int) -> bool:
        """Remove the least recently used entries until `wanted` bytes fit, and leftovers of killed processes."""
        assert self.folder is not None
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # another process may remove it at the same time
                if path.name.startswith("."):
                    if time.time() - path.stat().st_mtime > _ABANDONED:
                        shutil.rmtree(path, ignore_errors=True)
                else:
                    size = sum(file.stat().st_size for file in path.iterdir())
                    entries.append(((path / "entry.json").stat().st_mtime, size, path))
        room = self.limit - sum(size for _, size, _ in entries)
        free = shutil.disk_usage(self.folder).free - _LEFT_FREE
        for _, size, path in sorted(entries) if wanted <= self.limit else ():
            if wanted <= min(room, free):
                break
            if path not in _opened:
                _remove(path)
                room, free = room + size, free + size
        if not (fits := wanted <= min(room, free)):
            needed = f"{wanted / 1e9:.1f} GB do not fit below '{self.folder}'"
            limit = f"limit {self.limit / 1e9:.1f} GB, MAMMOZOO_CACHE_GB"
            _warn_once(f"No cache: {needed} ({limit}); computing each time.")
        return fits


def _limit() -> int:
    text = os.environ.get("MAMMOZOO_CACHE_GB", "")
    try:
        return max(0, int(float(text) * 10**9)) if text else LIMIT
    except (ValueError, OverflowError):
        _warn_once(f"MAMMOZOO_CACHE_GB is '{text}', not a number of gigabytes; taking {LIMIT / 1e9:.0f}.")
        return LIMIT


def _read(entry: Path) -> Arrays:
    """The arrays of an entry; ValueError, KeyError, TypeError or AttributeError if it is damaged."""
    index = entry / "entry.json"
    inode = index.stat().st_ino
    arrays: Arrays = {}
    for name, facts in json.loads(index.read_bytes())["files"].items():
        path = entry / f"{name}.npy"
        if path.stat().st_size != facts["bytes"]:
            raise ValueError(f"{path.name} has {path.stat().st_size} of {facts['bytes']} bytes")
        if _opened.get(entry) != inode and sha256(path) != facts["sha256"]:
            raise ValueError(f"the bytes of {path.name} have changed")
        arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    _opened[entry] = inode
    with contextlib.suppress(OSError):  # a read-only folder
        os.utime(index)
    return arrays


def _write(path: Path, stream: Stream) -> dict[str, Any]:
    """Write a .npy file; its size and SHA-256. It is not written through a mapping: on a full disk that kills the process."""
    facts = {"descr": np.lib.format.dtype_to_descr(stream.dtype), "fortran_order": False, "shape": stream.shape}
    with path.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, facts)
        rows = 0
        for part in stream.parts:
            if part.dtype != stream.dtype or part.shape[1:] != stream.shape[1:]:
                raise ValueError(f"a part is {part.dtype} {part.shape}; the array is {stream.dtype} {stream.shape}")
            handle.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
            rows += len(part)
        if rows != stream.shape[0]:
            raise ValueError(f"{rows} of {stream.shape[0]} rows")
        handle.flush()
        os.fsync(handle.fileno())
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _remove(entry: Path) -> None:
    """Rename an entry, then delete it. On POSIX its mapped pages stay valid; on Windows a mapped entry stays."""
    gone = entry.with_name(f".gone-{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        entry.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@cache
def _warn_once(text: str) -> None:
    log.warning("%s", text)
