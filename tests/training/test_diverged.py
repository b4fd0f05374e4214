"""A point of a grid that diverges costs itself alone: it is recorded with its reason, and not met again."""

import json
from pathlib import Path

import pytest

from mammozoo.errors import FailedError
from mammozoo.files import read_table
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.experiment import resume, train
from mammozoo.training.parallel import Jobs
from mammozoo.zoo.account import read_account

from ..helpers import tiny

TOO_HIGH, FINE = 1e30, 1e-3


def test_the_other_points_go_on_and_report(tmp_path: Path) -> None:
    recipe = tiny(strategy="full", grid={"optimizer.lr": [TOO_HIGH, FINE]}, **{"split.folds": 2})
    run = train(recipe, tmp_path / "one")
    rows = read_table(run.path / "attempts.csv")
    assert [(row["fit"], row["validation loss"] == "nan", row["reports"]) for row in rows] == [
        ("fold-0/000", True, "False"), ("fold-0/001", False, "True"),
        ("fold-1/000", True, "False"), ("fold-1/001", False, "True"),
    ]  # fmt: skip
    facts = json.loads((run.path / "run.json").read_text())
    assert facts["status"] == "done" and facts["failed"].keys() == {"fold-0/000", "fold-1/000"}
    assert all("1e+30" in reason for reason in facts["failed"].values())
    assert "2 of them diverged" in read_account(run.path, facts).choice
    several = train(recipe, tmp_path / "two", jobs=Jobs(2))
    for name in ("attempts.csv", "predictions.csv", "model.safetensors"):
        assert (several.path / name).read_bytes() == (run.path / name).read_bytes()


def test_a_resumed_run_does_not_meet_it_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    failed = out / "holdout/000/failed.json"
    with pytest.raises(Stopped):
        train(tiny(strategy="full", grid={"optimizer.lr": [TOO_HIGH, FINE]}), out, stop=failed.exists)
    before = failed.stat().st_mtime_ns
    assert resume(out).facts["status"] == "done" and failed.stat().st_mtime_ns == before


def test_a_run_of_which_nothing_is_left_says_so(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="Every point of the grid"):
        train(tiny(strategy="full", grid={"optimizer.lr": [TOO_HIGH, TOO_HIGH / 10]}), tmp_path / "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"


def test_a_point_that_fails_in_one_repeat_reports_in_none(tmp_path: Path) -> None:
    from mammozoo.training.finish import without_failed
    from mammozoo.training.fold import FailedFit

    from .test_fit_spec import GRID, fit

    lost = FailedFit(fit("fold-0/002", "fold-0", (0.0, True), lr=2, repeat=1).spec, "why")
    assert [one.spec.name for one in without_failed([*GRID, lost])] == ["fold-0/000", "fold-1/000", "fold-1/001"]
