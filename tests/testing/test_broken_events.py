"""Each check of event hooks, tried on one that breaks just that; and what a hook finds when it is called."""

import json
import os
import socket
import types
from collections.abc import Callable
from typing import Any

import pytest

from mammozoo import EpochRow, hookimpl
from mammozoo.testing import checks, run
from mammozoo.training.run_directory import RunDirectory, read_history

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


BROKEN = [
    ("raises-nothing", "KeyError .*test_broken_events.py, line", "run_end", lambda run: {}["webhook"]),
    ("prints-nothing", "'done'", "run_end", lambda run: os.write(1, b"done\n") and None),
    ("prints-nothing", "'epoch ", "epoch_end", lambda run, row: print(f"epoch {row.epoch}")),
    (
        "leaves-the-run-alone",
        "changes 'run.json'",
        "run_end",
        lambda run: (run.path / "run.json").write_text("{}") and None,
    ),
    (
        "leaves-the-run-alone",
        "deletes 'recipe.yaml'",
        "epoch_end",
        lambda run, row: (run.path / "recipe.yaml").unlink(),
    ),
    ("leaves-the-run-alone", "`run.facts`", "epoch_end", lambda run, row: run.facts.update(seen=True)),
]


def test_sound_hooks_pass_all_and_see_a_real_run(passes) -> None:
    SEEN.clear()
    passes(plugin(
        epoch_end=lambda run, row: SEEN.append((run, row, sorted(path.name for path in run.path.iterdir()))),
        run_end=look_at_the_end,
    ))  # fmt: skip
    epochs, ends = SEEN[:3], SEEN[3:]
    assert len(epochs) == len(ends) == 3, "one call for each check"
    (run, row, files), (seed, history, auc) = epochs[0], ends[0]
    assert isinstance(run, RunDirectory) and run.facts["status"] == "running"
    assert "run.json" in files and "scores.json" not in files, "as it is in the middle of a training"
    assert isinstance(row, EpochRow) and (row.epoch, row.split) == (history.epoch, history.split)
    assert isinstance(seed, int) and isinstance(auc, float)


@pytest.mark.parametrize(("rule", "words", "event", "hook"), BROKEN)
def test_a_broken_event_hook_fails_just_that(breaks, rule, words: str, event: str, hook: Callable[..., Any]) -> None:
    breaks(rule, words, plugin(**{event: hook}))


def test_a_hook_that_sends_something_is_not_let_through() -> None:
    """A check sends nothing to anybody; a hook that raises where there is no network is skipped, not failed."""
    sends = plugin(run_end=lambda run: socket.create_connection(("127.0.0.1", 9), timeout=0.1))
    found = [run(check) for check in checks(sends) if check.kind == "events"]
    assert {result.state for result in found} == {"skipped"}
    assert all("It connects to ('127.0.0.1', 9)" in result.reason for result in found)
