"""More epochs for a complete run: the bytes of a run that had them from the start, or a refusal with its reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from mammozoo.config.recipe import Recipe, load
from mammozoo.errors import ConflictError, NotFoundError, UsageError
from mammozoo.training.experiment import extend, train
from mammozoo.training.extend import longer, reopened

FILES = ("model.safetensors", "config.json", "predictions.csv", "scores.json", "splits.json")
#: Dropout, augmentation, moments and batch statistics: all that one epoch leaves to the next.
FIELDS = {
    "dataset": "phantom:n=36", "backbone": "test_resnet", "weights": "random", "size": 32, "device": "cpu", "batch": 8,
    "strategy": "full", "head": "gap:dropout=0.3", "augment": ["hflip"], "keep_state": True,
    "schedule": {"kind": "constant"},
}  # fmt: skip


def _recipe(**fields: object) -> Recipe:
    return load(None, FIELDS | fields)


def _history(run: Path, fit: str) -> list[dict[str, str]]:
    with (run / fit / "history.csv").open(encoding="utf-8", newline="") as handle:
        return [{k: v for k, v in row.items() if k not in ("seconds", "rate")} for row in csv.DictReader(handle)]


PHASES = [{"name": "adam", "lr": 1e-3, "epochs": 1}, {"name": "sgd", "lr": 1e-2, "epochs": 1}]
GROWN = [PHASES[0], {**PHASES[1], "epochs": 2}]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"phases": PHASES, "schedule": {"kind": "exponential", "factor": 0.5}}, {"phases": GROWN}),
        ({"epochs": 2, "schedule": {"kind": "plateau", "factor": 0.1, "patience": 0}, "split.folds": 2}, {"epochs": 3}),
    ],
    ids=["exponential in the last phase", "plateau in two folds"],
)
def test_it_is_the_longer_run(short: dict[str, object], long: dict[str, object], tmp_path: Path) -> None:
    train(_recipe(**short), tmp_path / "short")
    before = {path: path.read_bytes() for path in (tmp_path / "short").rglob("*") if path.is_file()}
    extend(tmp_path / "short", 3, tmp_path / "extended")
    train(_recipe(**short | long), tmp_path / "long")
    for name in FILES:
        assert (tmp_path / "extended" / name).read_bytes() == (tmp_path / "long" / name).read_bytes(), name
    for fit in ["fold-0", "fold-1"] if "split.folds" in short else ["holdout"]:
        assert len(_history(tmp_path / "extended", fit)) == 3
        assert _history(tmp_path / "extended", fit) == _history(tmp_path / "long", fit)
        assert _history(tmp_path / "extended", fit)[:2] == _history(tmp_path / "short", fit)
        clocks = [(tmp_path / run / fit / "history.csv").read_text().splitlines()[1:3] for run in ("short", "extended")]
        assert clocks[0] == clocks[1], "what the short run has done is not done again"
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


def test_what_cannot_be_extended(tmp_path: Path) -> None:
    train(_recipe(epochs=1, keep_state=False), tmp_path / "bare")
    assert not list((tmp_path / "bare").rglob("last.safetensors"))
    with pytest.raises(UsageError, match="--keep-state"):
        extend(tmp_path / "bare", 2)
    with pytest.raises(NotFoundError, match="nowhere"):
        extend(tmp_path / "nowhere", 2)
    facts = json.loads((tmp_path / "bare" / "run.json").read_text())
    (tmp_path / "bare" / "run.json").write_text(json.dumps(facts | {"status": "failed"}))
    with pytest.raises(ConflictError, match="--resume"):
        extend(tmp_path / "bare", 2)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"epochs": 5}, "larger --epochs"),
        ({"epochs": 2, "schedule": {"kind": "cosine"}}, "cosine"),
        ({"epochs": 2, "grid": {"schedule.kind": ["constant", "cosine"]}}, "cosine"),
        ({"epochs": 2, "grid": {"epochs": [1, 2]}}, "several numbers"),
    ],
)
def test_a_recipe_that_cannot_grow_says_why(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        longer(_recipe(**fields), 5)


def test_the_last_phase_grows() -> None:
    assert [phase.epochs for phase in longer(_recipe(phases=PHASES), 7).phases] == [1, 6]


def test_a_new_run_from_the_weights_of_another(tmp_path: Path) -> None:
    """`weights: FOLDER` starts from the run's network, and says so."""
    train(_recipe(epochs=1), tmp_path / "first")
    run = train(_recipe(epochs=1, weights=str(tmp_path / "first")), tmp_path / "second")
    assert run.facts["weights"] == f"zoo:{tmp_path / 'first'}"
    assert len(_history(tmp_path / "second", "holdout")) == 1
