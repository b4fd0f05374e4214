"""Each check of event hooks, tried on one that breaks just that; and what a hook finds when it is called."""

from __future__ import annotations

import json
import os
import socket
import types
from collections.abc import Callable
from typing import Any

import pytest

from mammozoo import hookimpl
from mammozoo.testing import checks, run
from mammozoo.training.run_directory import RunDirectory, read_history
from mammozoo.training.trainer import EpochRow

SEEN: list[Any] = []


def plugin(**hooks: Callable[..., Any]) -> types.ModuleType:
    """A module with these hooks."""
    module = types.ModuleType("made_here")
    for name, hook in hooks.items():
        setattr(module, name, hookimpl(hook))
    return module


def look_at_the_epoch(run: RunDirectory, row: EpochRow) -> None:
    SEEN.append((run, row, sorted(path.name for path in run.path.iterdir())))


def look_at_the_end(run: RunDirectory) -> None:
    scores = json.loads((run.path / "scores.json").read_text())
    SEEN.append(
        (run.facts["seed"], read_history(next(run.path.glob("*/history.csv")).parent)[0], scores["auc"]["value"])
    )
    (run.path / "ours.txt").write_text("a file beside the run's own")


def raises(run: RunDirectory) -> None:
    raise KeyError("webhook")


def prints(run: RunDirectory) -> None:
    os.write(1, b"done\n")


def appends(run: RunDirectory) -> None:
    with (run.path / "run.json").open("a") as file:
        file.write("\n")


def prints_by_python(run: RunDirectory, row: EpochRow) -> None:
    print(f"epoch {row.epoch}")


def deletes(run: RunDirectory, row: EpochRow) -> None:
    (run.path / "recipe.yaml").unlink()


def marks(run: RunDirectory, row: EpochRow) -> None:
    run.facts["seen"] = True


BROKEN = [
    ("raises-nothing", "KeyError .*test_broken_events.py, line", "run_end", raises),
    ("prints-nothing", "'done'", "run_end", prints),
    ("prints-nothing", "'epoch ", "epoch_end", prints_by_python),
    ("leaves-the-run-alone", "changes 'run.json'", "run_end", appends),
    ("leaves-the-run-alone", "deletes 'recipe.yaml'", "epoch_end", deletes),
    ("leaves-the-run-alone", "`run.facts`", "epoch_end", marks),
]


def test_sound_hooks_pass_all_and_see_a_real_run(passes: Any) -> None:
    SEEN.clear()
    passes(plugin(epoch_end=look_at_the_epoch, run_end=look_at_the_end))
    epochs, ends = SEEN[:3], SEEN[3:]
    assert len(epochs) == len(ends) == 3, "one call for each check"
    (run, row, files), (seed, history, auc) = epochs[0], ends[0]
    assert isinstance(run, RunDirectory) and run.facts["status"] == "running"
    assert "run.json" in files and "scores.json" not in files, "as it is in the middle of a training"
    assert isinstance(row, EpochRow) and (row.epoch, row.split) == (history.epoch, history.split)
    assert isinstance(seed, int) and isinstance(auc, float)


@pytest.mark.parametrize(("rule", "words", "event", "hook"), BROKEN)
def test_a_broken_event_hook_fails_just_that(
    breaks: Any, rule: str, words: str, event: str, hook: Callable[..., Any]
) -> None:
    breaks(rule, words, plugin(**{event: hook}))


def calls_home(run: RunDirectory) -> None:
    socket.create_connection(("127.0.0.1", 9), timeout=0.1)


def test_a_hook_that_sends_something_is_not_let_through() -> None:
    """A check sends nothing to anybody; a hook that raises where there is no network is skipped, not failed."""
    found = [run(check) for check in checks(plugin(run_end=calls_home)) if check.kind == "events"]
    assert {result.state for result in found} == {"skipped"}
    assert all("It connects to ('127.0.0.1', 9)" in result.reason for result in found)
