"""A search: points proposed one after another, chosen on validation, pruned by plugins, resumed with the same bytes."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mammozoo
from mammozoo import EpochRow, PrunedError, RunDirectory
from mammozoo.errors import ConflictError, IncompatibleError, UsageError
from mammozoo.files import read_table
from mammozoo.hookspecs import hookimpl
from mammozoo.plugins import Plugin, registry
from mammozoo.report.page import write_report
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.experiment import resume, train
from mammozoo.zoo.account import read_account

from ..helpers import tiny

POINTS: list[dict[str, Any]] = [
    {"optimizer.lr": 1e-2},
    {"backbone": "test_efficientnet", "size": 48, "strategy": "full"},
    {"optimizer.lr": 1e-4},
]
BYTES = ("attempts.csv", "predictions.csv", "model.safetensors", "config.json")


class Pruner:
    """A plugin that prunes every fit at a high learning rate after its second epoch."""

    @hookimpl
    def epoch_end(self, run: RunDirectory, row: EpochRow) -> str | None:
        return "too fast" if row.lr > 5e-3 and row.epoch == 2 else None


@pytest.fixture
def pruner() -> Iterator[None]:
    from mammozoo import plugins

    plugins.registry.cache_clear()
    registry().load(Plugin("pruner", "pruner", "1"), Pruner)
    yield
    plugins.registry.cache_clear()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, list[float]]:
    with mammozoo.search(tiny(), out=tmp_path_factory.mktemp("search") / "run") as search:
        assert search.direction == "minimize"
        values = [search.value(settings) for settings in POINTS]
        before = {path: path.stat().st_mtime_ns for path in (search.run.path / "holdout").rglob("*")}
        assert [search.value(settings) for settings in POINTS] == values
        assert {path: path.stat().st_mtime_ns for path in (search.run.path / "holdout").rglob("*")} == before
    return search.run, values


def test_the_recipe_itself_is_the_first_point_and_the_best_is_scored(done: tuple[RunDirectory, list[float]]) -> None:
    run, values = done
    rows = read_table(run.path / "attempts.csv")
    assert [float(row["validation loss"]) for row in rows][1:] == values and len(rows) == 4
    best = min(rows, key=lambda row: float(row["validation loss"]))
    assert [row["fit"] for row in rows if row["reports"] == "True"] == [best["fit"]]
    assert run.facts["status"] == "done" and "auc" in run.scores
    tried = "4 models were trained: 4 points of the grid"
    assert tried in " ".join((run.path / "README.md").read_text().split())
    write_report(run.path)
    assert "Models trained: 4, of which 1 reports" in " ".join((run.path / "report.html").read_text().split())


def test_its_recipe_repeats_it(done: tuple[RunDirectory, list[float]], tmp_path: Path) -> None:
    run, _ = done
    again = train(run.recipe, tmp_path / "again")
    for name in BYTES:
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes(), name


def test_a_search_that_was_interrupted_goes_on(done: tuple[RunDirectory, list[float]], tmp_path: Path) -> None:
    out, wanted = tmp_path / "run", done[1]
    saved = out / "holdout/002/last.safetensors"
    with pytest.raises(Stopped), mammozoo.search(tiny(epochs=1), out=out, stop=saved.parent.exists) as search:
        for settings in POINTS:
            search.value(settings)
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    with pytest.raises(IncompatibleError, match="epochs"), mammozoo.search(tiny(epochs=2), out=out):
        pass
    with mammozoo.search(tiny(), out=out) as search:
        assert [search.value(settings) for settings in POINTS] == wanted
    for name in BYTES:
        assert (out / name).read_bytes() == (done[0].path / name).read_bytes(), name
    with pytest.raises(ConflictError, match="complete"), mammozoo.search(tiny(), out=out):
        pass


def test_train_resume_completes_a_search(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), mammozoo.search(tiny(), out=out) as search:
        search.value(POINTS[0])
        raise KeyboardInterrupt
    run = resume(out)
    assert [row["fit"] for row in read_table(run.path / "attempts.csv")] == ["holdout/000", "holdout/001"]


def test_a_plugin_prunes_a_point(pruner: None, tmp_path: Path) -> None:
    recipe = tiny(epochs=3)
    with mammozoo.search(recipe, out=tmp_path / "run") as search:
        search.value({})
        for _ in range(2):  # the second time from its folder
            with pytest.raises(PrunedError, match="too fast"):
                search.value({"optimizer.lr": 0.01})
    assert search.run.facts["failed"] == {"holdout/001": "pruned: too fast"}
    choice = read_account(search.run.path, search.run.facts).choice
    assert "1 of them were pruned" in choice and "diverged" not in choice
    assert search.run.facts["model"]["fold"] == "holdout/000"
    plain = train(recipe.model_copy(update={"grid": {"optimizer.lr": [0.01, 1e-3]}}), tmp_path / "grid")
    assert plain.facts["failed"] == {"holdout/000": "pruned: too fast"}
    alone = train(tiny(epochs=3, **{"optimizer.lr": 0.01}), tmp_path / "alone")
    assert alone.facts["status"] == "done", "a fit that is the whole run is not pruned"


def test_what_does_not_go_together_is_refused_and_not_counted(tmp_path: Path) -> None:
    with mammozoo.search(tiny(), out=tmp_path / "run") as search:
        for settings in ({"strategy": "last-blocks:9000"}, {"seed": 3}, {"optimizer.lr": "fast"}):
            with pytest.raises(UsageError):
                search.value(settings)
        assert math.isnan(search.value({"strategy": "full", "optimizer.lr": 1e30}))
    assert search.run.recipe.grid == [{}, {"strategy": "full", "optimizer.lr": 1e30}]
    for changes in ({"grid": {"batch": [8, 16]}}, {"repeats": 2}, {"split.folds": 2}):
        with pytest.raises(UsageError), mammozoo.search(tiny(**changes), out=tmp_path / "other"):
            pass
    assert not (tmp_path / "other").exists()
