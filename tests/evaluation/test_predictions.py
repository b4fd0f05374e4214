"""The table of predictions: the same from memory and from the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mammozoo.errors import IncompatibleError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predictions import Predictions, read_predictions
from mammozoo.files import write_table
from mammozoo.training.run_directory import RunDirectory


def test_rows_in_memory_are_those_of_the_file(tiny_run: RunDirectory) -> None:
    stored = read_predictions(tiny_run.path)
    again = Predictions.from_rows(stored.rows(), stored.outcome.classes)
    for one, other in ((stored, again), (stored.outcome, again.outcome)):
        for field in dataclasses.fields(one):
            if field.name not in ("outcome", "classes", "meta"):
                np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)
    assert set(stored.meta) == set(again.meta)


def test_a_threshold_of_zero_is_a_threshold(tiny_run: RunDirectory) -> None:
    stored = read_predictions(tiny_run.path)
    zero = stored.cut_at(np.zeros(len(stored)))
    assert (Predictions.from_rows(zero.rows(), stored.outcome.classes).cuts == 0).all()


def test_more_than_two_classes_have_no_threshold() -> None:
    p = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    text = np.array(["x", "y"])
    outcome = Outcome(("a", "b", "c"), np.array([1, 2]), p, decide(p, 0.5), np.arange(2))
    three = Predictions(text, text, text, text, text, outcome, np.full(2, np.nan), {"device": text})
    again = Predictions.from_rows(three.rows(), outcome.classes)
    assert np.isnan(again.cuts).all()
    assert again.meta["device"].tolist() == ["x", "y"]
    assert again.cut_at(np.zeros(2)) is again


@pytest.mark.parametrize("change", [{"label": "other"}, {"group": "one"}, {"p_benign": ""}])
def test_a_damaged_table_is_refused(tiny_run: RunDirectory, tmp_path: Path, change: dict[str, str]) -> None:
    (tmp_path / "config.json").write_bytes((tiny_run.path / "config.json").read_bytes())
    first, *rest = read_predictions(tiny_run.path).rows()
    write_table(tmp_path / "predictions.csv", [{**first, **change}, *rest])
    with pytest.raises(IncompatibleError, match=r"predictions\.csv"):
        read_predictions(tmp_path)
