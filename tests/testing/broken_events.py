"""Event hooks that break one promise each."""

import json
import os
import types
from collections.abc import Callable
from typing import Any

from mammozoo import hookimpl
from mammozoo.training.history import read_history
from mammozoo.training.run_directory import RunDirectory

SEEN: list[Any] = []


def plugin(**hooks: Callable[..., Any]) -> types.ModuleType:
    module = types.ModuleType("made_here")
    for name, hook in hooks.items():
        setattr(module, name, hookimpl(hook))
    return module


def look_at_the_end(run: RunDirectory) -> None:
    scores = json.loads((run.path / "scores.json").read_text())
    history = read_history(next(run.path.glob("*/history.csv")).parent)[0]
    SEEN.append((run.facts["seed"], history, scores["auc"]["value"]))
    (run.path / "ours.txt").write_text("a file beside the run's own")


BROKEN = {"events": [
    ("raises-nothing", "KeyError .*broken_events.py, line", plugin(run_end=lambda run: {}["webhook"])),
    ("prints-nothing", "'done'", plugin(run_end=lambda run: os.write(1, b"done\n") and None)),
    ("prints-nothing", "'epoch ", plugin(epoch_end=lambda run, row: print(f"epoch {row.epoch}"))),
    (
        "leaves-the-run-alone", "changes 'run.json'",
        plugin(run_end=lambda run: (run.path / "run.json").write_text("{}") and None),
    ),
    (
        "leaves-the-run-alone", "deletes 'recipe.yaml'",
        plugin(epoch_end=lambda run, row: (run.path / "recipe.yaml").unlink()),
    ),
    ("leaves-the-run-alone", "`run.facts`", plugin(epoch_end=lambda run, row: run.facts.update(seen=True))),
]}  # fmt: skip
SOUND = {"events": [
    plugin(
        epoch_end=lambda run, row: SEEN.append((run, row, sorted(path.name for path in run.path.iterdir()))),
        run_end=look_at_the_end,
    ),
]}  # fmt: skip
