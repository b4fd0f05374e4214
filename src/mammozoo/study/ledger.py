"""`ledger.jsonl`: what happened in a study, one line an event, only ever added to.

Each line holds the time, the version and commit of mammozoo, the SHA-256 of the protocol as it was, and the SHA-256 of the line
before, so that a line which is changed or taken out is noticed. Lines taken from the end are noticed by the files that they name.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mammozoo
from mammozoo.documents import as_kind, parse_json
from mammozoo.errors import ConflictError
from mammozoo.files import disk_error, locked, sha256
from mammozoo.training.run_directory import commit

FILE = "ledger.jsonl"
#: What each event says beside time, version, commit and protocol.
_FACTS: dict[str, dict[str, Any]] = {
    "frozen": {"tables": dict}, "deviation": {"reason": str}, "trained": {"model": str, "recipe": str, "predictions": str},
    "table": {"path": str, "sha256": str}, "chosen": {"model": str, "scores": dict, "parameters": dict},
    "opening": {"part": str}, "opened": {"part": str, "predictions": dict, "stamps": dict, "left_out": dict},
}  # fmt: skip


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold the study in `folder`; ConflictError if another process freezes it or carries it out."""
    try:
        with locked(folder / ".study.lock", patience=0.5):
            yield
    except TimeoutError:
        raise ConflictError(f"Another process is running the study at '{folder}'. Wait until it is done.") from None


class Ledger:
    """The events of the study in a folder; `problem` says how the file contradicts itself, if it does."""

    def __init__(self, folder: Path):
        self.path, self.problem = folder / FILE, ""
        self.events: list[dict[str, Any]] = []
        raw = self.path.read_bytes() if self.path.is_file() else b""
        lines, self._before = raw.split(b"\n"), ""
        if (torn := lines.pop()) and _event(torn):
            lines.append(torn)  # an editor took the last line end away
        # Bytes; what follows was cut off by a kill, and says nothing.
        self._whole = sum(len(line) + 1 for line in lines)
        for number, line in enumerate(lines, 1):
            event = _event(line)
            if not self.problem and (event is None or event.get("previous") != self._before):
                self.problem = f"line {number} of {FILE} was changed, or lines before it were taken out"
            self.events += [event] if event else []
            self._before = hashlib.sha256(line).hexdigest()

    def of(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of a kind, with these values."""
        return [one for one in self.events if one["event"] == event and fields.items() <= one.items()]

    def add(self, event: str, protocol: str, **facts: Any) -> None:
        """Add a line and force it to the disk."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        one = {"event": event, "time": now, "mammozoo": mammozoo.__version__, "commit": commit(), "protocol": protocol}
        line = json.dumps(one | facts | {"previous": self._before}, ensure_ascii=False)
        try:
            with self.path.open("ab") as handle:
                if handle.tell() != self._whole:
                    handle.truncate(min(handle.tell(), self._whole))
                    handle.write(b"\n" * (self._whole - handle.tell()))
                handle.write(line.encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise disk_error(error, self.path) from error
        self._before, self._whole = hashlib.sha256(line.encode()).hexdigest(), self.path.stat().st_size
        self.events.append(json.loads(line))


def damaged(folder: Path, opened: dict[str, Any]) -> list[Path]:
    """Predictions of an opening that are missing or are not those that were written."""
    paths = {
        folder / "opened" / opened["part"] / f"{name}.csv": digest for name, digest in opened["predictions"].items()
    }
    return [path for path, digest in paths.items() if not path.is_file() or sha256(path) != digest]


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None if it is none."""
    try:
        event = as_kind(parse_json(line.decode()), dict[str, Any])
        for key, kind in ({"event": str, "time": str, "protocol": str} | _FACTS[event["event"]]).items():
            as_kind(event.get(key), kind)
    except (ValueError, KeyError, TypeError):
        return None
    return event
