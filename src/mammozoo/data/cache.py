"""Arrays that took long to make, kept on disk by what they were made from, and read back without copying.

    <folder>/arrays/<key>/entry.json       what it was made from; size and SHA-256 of every file
    <folder>/arrays/<key>/<name>.npy       one array, memory-mapped when it is read: processes share its pages

The key is the SHA-256 of a description. An entry is written beside its place, synced and renamed, so any number of
processes may write at once: the first wins, and nobody meets half of one. What cannot be stored (a full disk, a read-only
folder) is computed each time, with one line in the log.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mammozoo.files import sha256

log = logging.getLogger(__name__)

#: Bytes that all entries may take together, unless `MAMMOZOO_CACHE_GB` says otherwise; 0 turns caching off.
LIMIT = 20 * 10**9
_LEFT_FREE = 10**9  # bytes of the disk that are never taken
_ABANDONED = 24 * 3600  # seconds after which what a killed process left behind is removed

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

# Of this process: entries in use, which it never evicts; entries whose bytes it has checked; what it has complained about.
_in_use: set[Path] = set()
_checked: set[tuple[Path, int]] = set()
_said: set[str] = set()


@dataclass(frozen=True)
class Stream:
    """An array that is written as it is made: `parts` along the first axis, in order, which fill `shape`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    parts: Iterable[Array]

    @property
    def bytes(self) -> int:
        """How many there will be."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def cache_folder() -> Path | None:
    """`MAMMOZOO_CACHE`, or `~/.cache/mammozoo`; None where there is no home. It need not exist."""
    if given := os.environ.get("MAMMOZOO_CACHE"):
        return Path(given).expanduser()
    try:
        return Path.home() / ".cache" / "mammozoo"
    except RuntimeError:
        return None


def key_of(description: Mapping[str, Any]) -> str:
    """The name of what is made from `description`: 64 hexadecimal digits.

    Raises:
        TypeError, ValueError: the description is not plain JSON. A key must not hang on how an object prints itself.
    """
    text = json.dumps(description, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The entries below one folder, at most `limit` bytes together; the least recently used leave first."""

    def __init__(self, folder: Path | None = None, limit: int | None = None):
        """`folder` and `limit` default to what the environment says."""
        root = folder or cache_folder()
        self.limit = _limit() if limit is None else limit
        self.folder = root / "arrays" if root is not None and self.limit > 0 else None

    def get(self, description: Mapping[str, Any]) -> Arrays | None:
        """The arrays stored for `description`, read-only and memory-mapped; None where there are none.

        The bytes are checked once a process against their SHA-256, about 2 GB/s where the processor has instructions for
        it. A damaged entry is removed.
        """
        if self.folder is None:
            return None
        entry = self.folder / key_of(description)
        try:
            files = json.loads((entry / "entry.json").read_bytes())["files"]
            stamp = (entry, (entry / "entry.json").stat().st_ino)
            arrays: Arrays = {}
            for name, facts in files.items():
                path = entry / f"{name}.npy"
                if path.stat().st_size != facts["bytes"]:
                    raise ValueError(f"{path.name} has {path.stat().st_size} of {facts['bytes']} bytes")
                if stamp not in _checked and sha256(path) != facts["sha256"]:
                    raise ValueError(f"the bytes of {path.name} have changed")
                arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (FileNotFoundError, NotADirectoryError):
            if entry.is_dir():  # a file of it is gone
                _remove(entry)
            return None
        except OSError as error:
            _say_once(f"No cache: cannot read below '{self.folder}' ({error.strerror or error}); computing each time.")
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("Cache entry '%s' is damaged (%s); it is removed and made again.", entry, error)
            _remove(entry)
            return None
        _in_use.add(entry)
        _checked.add(stamp)
        with contextlib.suppress(OSError):  # a folder that we may only read
            os.utime(entry / "entry.json")
        return arrays

    def remove(self, description: Mapping[str, Any]) -> None:
        """Forget what is stored for `description`, if anything is."""
        if self.folder is not None:
            _remove(self.folder / key_of(description))

    def put(self, description: Mapping[str, Any], arrays: Mapping[str, Array | Stream]) -> Arrays | None:
        """Store arrays for `description` and give them back memory-mapped; None where that is not possible.

        What another process stored meanwhile stays, and is given back. The parts of a `Stream` may be used up, whatever
        comes of it.

        Raises:
            ValueError: the parts of a stream do not fill its shape.
        """
        if self.folder is None:
            return None
        streams = {name: array if isinstance(array, Stream) else _whole(array) for name, array in arrays.items()}
        temporary = self.folder / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._make_room(sum(stream.bytes for stream in streams.values())):
                return None
            temporary.mkdir()
            files = {name: _write(temporary / f"{name}.npy", stream) for name, stream in streams.items()}
            with (temporary / "entry.json").open("w", encoding="utf-8") as handle:
                json.dump({"made_from": description, "files": files}, handle, indent=2)
                _sync(handle)
            _settle(temporary, self.folder / key_of(description))
        except OSError as error:
            _say_once(f"No cache: cannot write below '{self.folder}' ({error.strerror or error}); computing each time.")
            return None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.get(description)

    def _make_room(self, wanted: int) -> bool:
        """Remove what was used least recently, and what killed processes left, until `wanted` bytes fit."""
        assert self.folder is not None
        if wanted > self.limit:
            log.info(
                "Not cached: %.1f GB, and the limit is %.1f GB (MAMMOZOO_CACHE_GB).", wanted / 1e9, self.limit / 1e9
            )
            return False
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # another process removes too
                if path.name.startswith("."):
                    if time.time() - path.stat().st_mtime > _ABANDONED:
                        shutil.rmtree(path, ignore_errors=True)
                    continue
                size = sum(file.stat().st_size for file in path.iterdir())
                entries.append(((path / "entry.json").stat().st_mtime, size, path))
        taken = sum(size for _, size, _ in entries)
        free = shutil.disk_usage(self.folder).free - _LEFT_FREE
        for _, size, path in sorted(entries):
            if taken + wanted <= self.limit and wanted <= free:
                break
            if path not in _in_use:
                _remove(path)
                taken, free = taken - size, free + size
        if taken + wanted > self.limit or wanted > free:
            _say_once(f"No cache: {wanted / 1e9:.1f} GB do not fit below '{self.folder}'; computing each time.")
            return False
        return True


def _limit() -> int:
    text = os.environ.get("MAMMOZOO_CACHE_GB")
    if text is None:
        return LIMIT
    try:
        return max(0, int(float(text) * 10**9))
    except (ValueError, OverflowError):
        _say_once(f"MAMMOZOO_CACHE_GB is '{text}', not a number of gigabytes; taking {LIMIT / 1e9:.0f}.")
        return LIMIT


def _whole(array: Array) -> Stream:
    return Stream(array.shape, array.dtype, [array] if array.size else [])


def _write(path: Path, stream: Stream) -> dict[str, Any]:
    """The array as a .npy file: its size and SHA-256. By ordinary writes: a full disk kills who writes through a mapping."""
    header = io.BytesIO()
    facts = {"descr": np.lib.format.dtype_to_descr(stream.dtype), "fortran_order": False, "shape": stream.shape}
    np.lib.format.write_array_header_1_0(header, facts)
    digest = hashlib.sha256(header.getvalue())
    with path.open("wb") as handle:
        handle.write(header.getvalue())
        rows = 0
        for part in stream.parts:
            if part.dtype != stream.dtype or part.shape[1:] != stream.shape[1:]:
                raise ValueError(f"a part is {part.dtype} {part.shape}; the array is {stream.dtype} {stream.shape}")
            content = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
            digest.update(content)
            handle.write(content)
            rows += len(part)
        if rows != stream.shape[0]:
            raise ValueError(f"{rows} of {stream.shape[0]} rows")
        _sync(handle)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _sync(handle: IO[Any]) -> None:
    handle.flush()
    os.fsync(handle.fileno())


def _settle(temporary: Path, entry: Path) -> None:
    """Give a complete entry its name; where another process was first, its entry stays."""
    try:
        temporary.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise


def _remove(entry: Path) -> None:
    """Out of sight at once, then from the disk. On POSIX who still maps it keeps its pages; on Windows it then stays."""
    gone = entry.with_name(f".gone-{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        entry.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        log.warning("%s", text)
