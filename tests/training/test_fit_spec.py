"""Which fits a run consists of, which of them share an earlier stage, and what a saved state depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mammozoo.config.recipe import Recipe, load
from mammozoo.training.fit_spec import all_fits, fit_specs, state_key
from mammozoo.training.prepare import PreparedRun, prepare

FIRST = {"name": "first", "dataset": "phantom:n=24,seed=7", "optimizer": {"name": "sgd", "lr": 1e-2}}


def _recipe(**fields: Any) -> Recipe:
    return load(None, {
        "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "augment": [],
        "device": "cpu", "strategy": "full", **fields,
    })  # fmt: skip


def test_each_point_of_the_grid_and_each_repeat_is_a_fit_of_each_fold() -> None:
    recipe = _recipe(grid={"batch": [8, 16]}, repeats=2, **{"split.folds": 2})
    specs = fit_specs(prepare(recipe))
    assert [spec.name for spec in specs] == [f"fold-{fold}/{number:03d}" for fold in range(2) for number in range(4)]
    of_fold = [(spec.recipe.batch, spec.recipe.seed) for spec in specs[:4]]
    assert sorted(of_fold) == [(8, 0), (8, 1), (16, 0), (16, 1)]
    assert [spec.split.name for spec in specs] == ["fold-0"] * 4 + ["fold-1"] * 4


@pytest.fixture(scope="module")
def staged() -> PreparedRun:
    """One split after an earlier stage."""
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
def test_fits_share_an_earlier_stage_that_is_equal_for_all_of_them(
    staged: PreparedRun, fields: dict[str, Any], folders: list[str]
) -> None:
    (_, fits), (_, finals) = all_fits(replace(staged, recipe=_recipe(stages=[FIRST], **fields)))
    assert [fit.name for fit in fits] == folders
    assert {final.after for final in finals} == set(folders)
    assert {fit.recipe.seed for fit in fits} == {0}


def test_nested_folds_share_a_stage_that_has_no_image_of_the_run() -> None:
    (_, fits), (_, finals) = all_fits(prepare(_recipe(stages=[FIRST], **{"split.folds": 3, "split.inner": 2})))
    assert [fit.name for fit in fits] == ["stages/first"]
    assert [final.after for final in finals] == ["stages/first"] * 6


def test_a_state_depends_on_what_changes_the_fit_and_on_nothing_else() -> None:
    prepared = prepare(_recipe(**{"split.folds": 2}))
    first, second = fit_specs(prepared)
    key = state_key(prepared, first)
    assert state_key(prepared, second) != key, "another split"
    for changes in ({"batch": 8}, {"seed": 1}, {"epochs": 2}):
        assert state_key(prepared, replace(first, recipe=first.recipe.model_copy(update=changes))) != key, changes
    elsewhere = {"root": Path("elsewhere"), "workers": 3, "device": "cuda", "requires": ("some-plugin",)}
    assert state_key(prepared, replace(first, recipe=first.recipe.model_copy(update=elsewhere))) == key
