"""Events: a line for each epoch and each run in a laboratory notebook, where there is one.

`EXAMPLE_NOTEBOOK=notebook.md` names the file. Without it nothing is written: a plugin that is merely installed must not leave
things on other people's disks. What an event hook raises is logged, and the training goes on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mammozoo import RunDirectory
    from mammozoo.training.run_directory import EpochRow


def note_epoch(run: RunDirectory, row: EpochRow) -> None:
    """One line: which run, which epoch, which loss."""
    _write(f"- {run.path.name}, {row.split}, epoch {row.epoch}: validation loss {row.val_loss:.3f}")


def note_run(run: RunDirectory) -> None:
    """One line with all scores that have a value."""
    scores = {name: score["value"] for name, score in run.facts.get("scores", {}).items()}
    said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if value is not None)
    _write(f"- {run.path.name} is done: {said}")


def _write(line: str) -> None:
    place = os.environ.get("EXAMPLE_NOTEBOOK")
    if place:
        with Path(place).open("a", encoding="utf-8") as notebook:
            notebook.write(f"{line}\n")
