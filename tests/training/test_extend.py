"""More epochs for a complete run: the bytes of a run that had them from the start, or a refusal with its reason."""

import json
from typing import Any

import pytest

from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Schedule
from mammozoo.errors import ConflictError, NotFoundError, UsageError
from mammozoo.files import read_table
from mammozoo.training.experiment import extend, train
from mammozoo.training.extend import longer, reopened

from ..helpers import edit_json, tiny

PHASES = [{"name": "adam", "lr": 1e-3, "epochs": 1}, {"name": "sgd", "lr": 1e-2, "epochs": 1}]


def _recipe(**fields: Any) -> Recipe:
    """Dropout, augmentation, moments and batch statistics: all that one epoch leaves to the next."""
    more = {
        "batch": 8,
        "head": "gap:dropout=0.3",
        "augment": ["hflip"],
        "keep_state": True,
        "schedule": {"kind": "constant"},
    }
    return tiny(**{"strategy": "full", **more, **fields})


def _without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"seconds": "", "rate": ""} for row in rows]


@pytest.mark.parametrize(
    ("short", "more", "fits"),
    [
        (
            {"phases": PHASES, "schedule": {"kind": "exponential", "factor": 0.5}},
            {"phases": [PHASES[0], {**PHASES[1], "epochs": 2}]}, ["holdout"],
        ),
        (
            {"epochs": 2, "schedule": {"kind": "plateau", "factor": 0.1, "patience": 0}, "split.folds": 2},
            {"epochs": 3}, ["fold-0", "fold-1"],
        ),
    ],
    ids=["exponential in the last phase", "plateau in two folds"],
)  # fmt: skip
def test_it_is_the_longer_run(short: dict[str, Any], more: dict[str, Any], fits: list[str], tmp_path) -> None:
    train(_recipe(**short), tmp_path / "short")
    before = {path: path.read_bytes() for path in (tmp_path / "short").rglob("*") if path.is_file()}
    extend(tmp_path / "short", 3, tmp_path / "extended")
    train(_recipe(**short | more), tmp_path / "long")
    for name in ("model.safetensors", "config.json", "predictions.csv", "scores.json", "splits.json"):
        assert (tmp_path / "extended" / name).read_bytes() == (tmp_path / "long" / name).read_bytes(), name
    for fit in fits:
        names = ("extended", "long", "short")
        extended, long, short = (read_table(tmp_path / name / fit / "history.csv") for name in names)
        assert len(extended) == 3
        assert _without_times(extended) == _without_times(long)
        assert extended[:2] == short, "with their times: these epochs are not trained again"
    assert before == {path: path.read_bytes() for path in (tmp_path / "short").rglob("*") if path.is_file()}
    facts = json.loads((tmp_path / "extended" / "run.json").read_text())
    assert facts["extends"]["epochs"] == 2 and facts["status"] == "done"


def test_a_fit_that_patience_ended_stays_ended() -> None:
    """And one that came to the end of its last phase goes on there."""
    assert [phase.epochs for phase in longer(_recipe(phases=PHASES), 7).phases] == [1, 6], "the last phase grows"
    phases = _recipe(phases=PHASES).all_phases()
    early = {"place": {"phase": 1, "of_phase": 0, "epoch": 1, "stale": 3}}
    assert reopened(early, phases) == early
    over = {"place": {"phase": 2, "of_phase": 0, "epoch": 2, "stale": 0}, "groups": []}
    assert reopened(over, phases) == {"place": {"phase": 1, "of_phase": 1, "epoch": 2, "stale": 0}, "groups": []}


def test_a_run_without_its_states_or_without_its_end_is_not_extended(tiny_run, run_copy, tmp_path) -> None:
    recipe = tiny_run.recipe.model_copy(update={"schedule": Schedule(kind="constant")})
    (run_copy / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert not list(run_copy.rglob("last.safetensors"))
    with pytest.raises(UsageError, match="--keep-state"):
        extend(run_copy, 2)
    with pytest.raises(NotFoundError, match="nowhere"):
        extend(tmp_path / "nowhere", 2)
    edit_json(run_copy / "run.json", lambda facts: facts.update(status="failed"))
    with pytest.raises(ConflictError, match="--resume"):
        extend(run_copy, 2)


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
