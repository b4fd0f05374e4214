"""More epochs for a complete run: the bytes of a run that had them from the start, or a refusal with its reason."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mammozoo.config.recipe import Recipe, load
from mammozoo.config.sections import Schedule
from mammozoo.errors import ConflictError, NotFoundError, UsageError
from mammozoo.training.experiment import extend, train
from mammozoo.training.extend import longer, reopened
from mammozoo.training.run_directory import RunDirectory

#: Dropout, augmentation, moments and batch statistics: all that one epoch leaves to the next.
FIELDS = {
    "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "device": "cpu", "batch": 8,
    "strategy": "full", "head": "gap:dropout=0.3", "augment": ["hflip"], "keep_state": True,
    "schedule": {"kind": "constant"},
}  # fmt: skip
PHASES = [{"name": "adam", "lr": 1e-3, "epochs": 1}, {"name": "sgd", "lr": 1e-2, "epochs": 1}]


def _recipe(**fields: object) -> Recipe:
    return load(None, FIELDS | fields)


def _history(run: Path, fit: str) -> list[dict[str, str]]:
    with (run / fit / "history.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{column: value for column, value in row.items() if column not in ("seconds", "rate")} for row in rows]


@pytest.mark.parametrize(
    ("short", "more", "fits"),
    [
        (
            {"phases": PHASES, "schedule": {"kind": "exponential", "factor": 0.5}},
            {"phases": [PHASES[0], {**PHASES[1], "epochs": 2}]},
            ["holdout"],
        ),
        (
            {"epochs": 2, "schedule": {"kind": "plateau", "factor": 0.1, "patience": 0}, "split.folds": 2},
            {"epochs": 3},
            ["fold-0", "fold-1"],
        ),
    ],
    ids=["exponential in the last phase", "plateau in two folds"],
)
def test_it_is_the_longer_run(short: dict[str, Any], more: dict[str, Any], fits: list[str], tmp_path: Path) -> None:
    train(_recipe(**short), tmp_path / "short")
    before = {path: path.read_bytes() for path in (tmp_path / "short").rglob("*") if path.is_file()}
    extend(tmp_path / "short", 3, tmp_path / "extended")
    train(_recipe(**short | more), tmp_path / "long")
    for name in ("model.safetensors", "config.json", "predictions.csv", "scores.json", "splits.json"):
        assert (tmp_path / "extended" / name).read_bytes() == (tmp_path / "long" / name).read_bytes(), name
    for fit in fits:
        extended, long = _history(tmp_path / "extended", fit), _history(tmp_path / "long", fit)
        assert len(extended) == 3
        assert _without_times(extended) == _without_times(long)
        assert extended[:2] == _history(tmp_path / "short", fit), "with their times: these epochs are not trained again"
    assert before == {path: path.read_bytes() for path in (tmp_path / "short").rglob("*") if path.is_file()}
    facts = json.loads((tmp_path / "extended" / "run.json").read_text())
    assert facts["extends"]["epochs"] == 2 and facts["status"] == "done"


def test_a_fit_that_patience_ended_stays_ended() -> None:
    """And one that came to the end of its last phase goes on there."""
    phases = _recipe(phases=PHASES).all_phases()
    early = {"place": {"phase": 1, "of_phase": 0, "epoch": 1, "stale": 3}}
    assert reopened(early, phases) == early
    over = {"place": {"phase": 2, "of_phase": 0, "epoch": 2, "stale": 0}, "groups": []}
    assert reopened(over, phases) == {"place": {"phase": 1, "of_phase": 1, "epoch": 2, "stale": 0}, "groups": []}


def test_a_run_without_its_states_or_without_its_end_is_not_extended(tiny_run: RunDirectory, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    recipe = tiny_run.recipe.model_copy(update={"schedule": Schedule(kind="constant")})
    (run / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert not list(run.rglob("last.safetensors"))
    with pytest.raises(UsageError, match="--keep-state"):
        extend(run, 2)
    with pytest.raises(NotFoundError, match="nowhere"):
        extend(tmp_path / "nowhere", 2)
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"status": "failed"}))
    with pytest.raises(ConflictError, match="--resume"):
        extend(run, 2)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"epochs": 5}, "5 epochs"),
        ({"epochs": 2, "schedule": {"kind": "cosine"}}, "cosine"),
        ({"epochs": 2, "grid": {"schedule.kind": ["constant", "cosine"]}}, "cosine"),
        ({"epochs": 2, "grid": {"epochs": [1, 2]}}, "grid"),
    ],
)
def test_a_recipe_that_cannot_be_longer_says_why(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        longer(_recipe(**fields), 5)


def test_the_last_phase_grows() -> None:
    assert [phase.epochs for phase in longer(_recipe(phases=PHASES), 7).phases] == [1, 6]
