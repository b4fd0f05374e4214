"""What fits in other processes tell of their epochs while they train: a line for each, in a file of the fit's folder."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mammozoo.training.history import EpochRow

EPOCHS = ".epochs"


@dataclass(frozen=True)
class Teller:
    """Called by a fit after each epoch; where the line cannot be written, nobody hears of it before the end."""

    fit: Path

    def __call__(self, row: EpochRow) -> None:
        """Add the line."""
        line = json.dumps([f"{platform.node()}:{os.getpid()}", vars(row)])
        with contextlib.suppress(OSError), (self.fit / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Listener:
    """Reads what the fits in these folders of a run tell; `last` is the last epoch heard of each."""

    def __init__(self, run: Path, names: Iterable[str]):
        self.files = {name: run / name / EPOCHS for name in names}
        self.read, self.last = dict.fromkeys(self.files, 0), dict.fromkeys(self.files, 0)
        self.close()  # what a run that was killed has left

    def news(self) -> Iterator[tuple[str, str, EpochRow]]:
        """(fit, host and process, epoch) of every epoch since the last call."""
        for name, file in self.files.items():
            try:
                with file.open("rb") as lines:
                    lines.seek(self.read[name])
                    content = lines.read()
            except OSError:
                continue
            whole = content[: content.rfind(b"\n") + 1]
            self.read[name] += len(whole)
            for line in whole.splitlines():
                worker, row = json.loads(line)
                self.last[name] = row["epoch"]
                yield name, worker, EpochRow(**row)

    def close(self) -> None:
        """Remove the files."""
        for file in self.files.values():
            with contextlib.suppress(OSError):
                file.unlink()
