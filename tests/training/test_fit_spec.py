"""Which fits a run consists of, which of them share an earlier stage, and what a saved state depends on."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mammozoo import EpochRow, Recipe
from mammozoo.data.splits.make import Split
from mammozoo.training.finish import select
from mammozoo.training.fit_spec import FitSpec, all_fits, fit_specs, state_key
from mammozoo.training.fold import FitResult
from mammozoo.training.prepare import PreparedRun, prepare

from ..helpers import tiny

FIRST = {"name": "first", "dataset": "phantom:n=24,seed=7", "optimizer": {"name": "sgd", "lr": 1e-2}}


def _recipe(**fields: Any) -> Recipe:
    return tiny(strategy="full", **fields)


def test_points_repeats_and_folds_are_fits_that_share_a_stage() -> None:
    recipe = _recipe(grid={"batch": [8, 16]}, repeats=2, **{"split.folds": 2})
    specs = fit_specs(prepare(recipe))
    assert [spec.name for spec in specs] == [f"fold-{fold}/{number:03d}" for fold in range(2) for number in range(4)]
    of_fold = [(spec.recipe.batch, spec.recipe.seed) for spec in specs[:4]]
    assert sorted(of_fold) == [(8, 0), (8, 1), (16, 0), (16, 1)]
    assert [spec.split.name for spec in specs] == ["fold-0"] * 4 + ["fold-1"] * 4
    (_, fits), (_, finals) = all_fits(prepare(_recipe(stages=[FIRST], **{"split.folds": 3, "split.inner": 2})))
    assert [fit.name for fit in fits] == ["stages/first"]
    assert [final.after for final in finals] == ["stages/first"] * 6


@pytest.fixture(scope="module")
def staged() -> PreparedRun:
    return prepare(_recipe(stages=[FIRST]))


@pytest.mark.parametrize(
    ("fields", "folders"),
    [
        # The stage has an optimizer of its own, so the grid of the run's does not change it.
        ({"grid": {"optimizer.lr": [1e-3, 1e-2]}}, ["stages/first"]),
        ({"repeats": 3}, ["stages/first"]),
        # It has no batch of its own.
        ({"grid": {"batch": [8, 16]}}, ["holdout/000/stages/first", "holdout/001/stages/first"]),
        (
            {"grid": {"batch": [8, 16], "optimizer.lr": [1e-3, 1e-2]}},
            ["holdout/000/stages/first", "holdout/002/stages/first"],
        ),
        ({"grid": {"stages.0.epochs": [1, 2]}}, ["holdout/000/stages/first", "holdout/001/stages/first"]),
    ],
)
def test_fits_share_an_earlier_stage_that_is_equal_for_all_of_them(staged, fields, folders: list[str]) -> None:
    (_, fits), (_, finals) = all_fits(replace(staged, recipe=_recipe(stages=[FIRST], **fields)))
    assert [fit.name for fit in fits] == folders
    assert {final.after for final in finals} == set(folders)
    assert {fit.recipe.seed for fit in fits} == {0}


def test_a_state_depends_on_what_changes_the_fit_and_on_nothing_else() -> None:
    prepared = prepare(_recipe(**{"split.folds": 2}))
    first, second = fit_specs(prepared)
    key = state_key(prepared, first)
    assert state_key(prepared, second) != key, "another split"
    for changes in ({"batch": 8}, {"seed": 1}, {"epochs": 2}):
        assert state_key(prepared, replace(first, recipe=first.recipe.model_copy(update=changes))) != key, changes
    elsewhere = {"root": Path("elsewhere"), "workers": 3, "device": "cuda", "requires": ("some-plugin",)}
    assert state_key(prepared, replace(first, recipe=first.recipe.model_copy(update=elsewhere))) == key


# ---------------------------------------------------------------- selection of the fits that report, by hand on made-up results

NONE = np.array([], np.intp)


def fit(name: str, split: str, *epochs: tuple[float, bool], **point: Any) -> FitResult:
    """A result of which selection uses the split, the point and (monitored value, best so far) of each epoch."""
    history = [EpochRow(split, 1, 1, 0.1, 0.0, 0.0, value, best, 0.0, 0.0) for value, best in epochs]
    recipe = Recipe.model_validate({"dataset": "phantom", "backbone": "test_resnet"})
    return FitResult(FitSpec(name, Split(split, NONE, NONE, NONE), recipe, point), cast(Any, None), history, [])


def selected(results: list[FitResult], sign: int) -> tuple[list[str], str]:
    """Names of the fits that report, joined where they report together, and of the one that stands for the run."""
    reporters, best = select(results, sign)
    return [" + ".join(one.spec.name for one in reporter.fits) for reporter in reporters], best.model.spec.name


GRID = [
    fit("fold-0/000", "fold-0", (0.6, True), lr=1),
    fit("fold-0/001", "fold-0", (0.8, True), lr=2),
    fit("fold-1/000", "fold-1", (0.9, True), lr=1),
    fit("fold-1/001", "fold-1", (0.7, True), lr=2),
]


@pytest.mark.parametrize(
    ("sign", "reporting", "best"),
    [(1, ["fold-0/001", "fold-1/000"], "fold-1/000"), (-1, ["fold-0/000", "fold-1/001"], "fold-0/000")],
    ids=["higher is better", "lower is better"],
)
def test_the_best_point_of_a_grid_reports_for_each_fold(sign: int, reporting: list[str], best: str) -> None:
    assert selected(GRID, sign) == (reporting, best)


def test_inner_folds_choose_the_point_by_their_mean_and_report_together() -> None:
    """The luckiest fit of all, 0.1, has the worse point. The model nearest to the mean stands for the run, not the best."""
    losses = {("a", 0): 0.1, ("a", 1): 0.9, ("a", 2): 0.8, ("b", 0): 0.3, ("b", 1): 0.42, ("b", 2): 0.5}
    nested = [
        fit(f"{outer}/inner-{inner}/{point}", f"{outer}/inner-{inner}", (loss + later, True), point=point)
        for outer, later in {"fold-0": 0, "fold-1": 1}.items()
        for (point, inner), loss in losses.items()
    ]
    together = [" + ".join(f"{outer}/inner-{inner}/b" for inner in range(3)) for outer in ("fold-0", "fold-1")]
    assert selected(nested, -1) == (together, "fold-0/inner-1/b")


def test_every_repeat_of_the_point_with_the_best_mean_reports() -> None:
    """The highest value of all, 0.9, is a lucky repeat of the worse point."""
    repeats = [
        fit(f"fold-{fold}/{point}{repeat}", f"fold-{fold}", (value - fold / 100, True), point=point, repeat=repeat)
        for fold in range(2)
        for (point, repeat), value in {("a", 0): 0.2, ("a", 1): 0.9, ("b", 0): 0.6, ("b", 1): 0.7}.items()
    ]
    every = ["fold-0/b0", "fold-0/b1", "fold-1/b0", "fold-1/b1"]
    assert selected(repeats, 1) == (every, "fold-0/b0")


def test_which_fits_report() -> None:
    ties = [fit("a", "holdout", (0.5, True), lr=1), fit("b", "holdout", (0.5, True), lr=2)]
    assert selected(ties, 1) == (["a"], "a")
    late = fit("late", "holdout", (0.5, True), (0.7, True), (0.9, False))
    assert late.monitor == 0.7
    assert selected([late, fit("steady", "holdout", (0.8, True), lr=2)], 1)[1] == "steady"
