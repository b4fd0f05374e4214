"""Selection of the fits that report, by hand on made-up results."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from mammozoo.config.recipe import Recipe
from mammozoo.data.splits.make import Split
from mammozoo.training.finish import select
from mammozoo.training.fit_spec import FitSpec
from mammozoo.training.fold import FitResult
from mammozoo.training.trainer import EpochRow

NONE = np.array([], np.intp)


def fit(name: str, split: str, *epochs: tuple[float, bool]) -> FitResult:
    """A result of which selection uses the split and (monitored value, best so far) of each epoch."""
    history = [EpochRow(split, 1, 1, 0.1, 0.0, 0.0, value, best, 0.0, 0.0) for value, best in epochs]
    recipe = Recipe.model_validate({"dataset": "phantom", "backbone": "test_resnet"})
    return FitResult(FitSpec(name, Split(split, NONE, NONE, NONE), recipe, {}), cast(Any, None), history, [])


def selected(results: list[FitResult], sign: int) -> tuple[list[str], str]:
    """Names of the fits that report, and of the one that stands for the run."""
    reporting, best = select(results, sign)
    return [result.spec.name for result in reporting], best.spec.name


GRID = [
    fit("fold-0/000", "fold-0", (0.6, True)),
    fit("fold-0/001", "fold-0", (0.8, True)),
    fit("fold-1/000", "fold-1", (0.9, True)),
    fit("fold-1/001", "fold-1", (0.7, True)),
]


@pytest.mark.parametrize(
    ("sign", "reporting", "best"),
    [(1, ["fold-0/001", "fold-1/000"], "fold-1/000"), (-1, ["fold-0/000", "fold-1/001"], "fold-0/000")],
    ids=["higher is better", "lower is better"],
)
def test_the_best_point_of_a_grid_reports_for_each_fold(sign: int, reporting: list[str], best: str) -> None:
    assert selected(GRID, sign) == (reporting, best)


def test_the_best_inner_fold_reports_for_its_outer_fold() -> None:
    nested = [
        fit(f"fold-{outer}/inner-{inner}", f"fold-{outer}/inner-{inner}", (value, True))
        for (outer, inner), value in {(0, 0): 0.5, (0, 1): 0.4, (1, 0): 0.3, (1, 1): 0.35}.items()
    ]
    assert selected(nested, -1) == (["fold-0/inner-1", "fold-1/inner-0"], "fold-1/inner-0")


def test_of_equal_fits_the_first_reports() -> None:
    assert selected([fit("a", "holdout", (0.5, True)), fit("b", "holdout", (0.5, True))], 1) == (["a"], "a")


def test_a_fit_counts_by_the_epoch_whose_weights_remain() -> None:
    late = fit("late", "holdout", (0.5, True), (0.7, True), (0.9, False))
    assert late.monitor == 0.7
    assert selected([late, fit("steady", "holdout", (0.8, True))], 1)[1] == "steady"
