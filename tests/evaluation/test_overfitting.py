"""β by hand, by group, and in flat memory."""

import tracemalloc

import numpy as np
import pytest

from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.scores import accuracy_gap, mean, overfitting


def outcome(right: list[int], groups: list[int]) -> Outcome:
    labels = np.ones(len(right), np.intp)
    return Outcome(("a", "b"), labels, np.full((len(right), 2), 0.5), np.array(right, np.intp), np.array(groups))


def test_beta_is_the_ratio_of_the_accuracies_by_group() -> None:
    score = overfitting(outcome([1, 1, 1, 0] * 30, list(range(120))), outcome([1, 0] * 30, list(range(120, 180))))
    assert score.value == pytest.approx(0.75 / 0.5) and score.n == 60
    assert score.low < 1.5 < score.high
    once = overfitting(outcome([1, 0] * 20, list(range(40))), outcome([1, 0] * 20, list(range(40, 80))))
    thrice = overfitting(outcome([1, 0] * 60, list(range(40)) * 3), outcome([1, 0] * 60, list(range(40, 80)) * 3))
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))
    score = overfitting(outcome([1, 1], [0, 1]), outcome([0, 0], [2, 3]))
    assert score.value is None and score.low is None


def test_memory_is_flat_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = outcome([1, 1, 1, 0] * 50, list(range(200))), outcome([1, 0] * 100, list(range(100, 300)))
    whole = overfitting(train, val), accuracy_gap(train, val), mean([0.5, 1.0] * 100, list(range(200)))
    monkeypatch.setattr("mammozoo.evaluation.intervals.CELLS", 300 * 7)
    assert whole == (overfitting(train, val), accuracy_gap(train, val), mean([0.5, 1.0] * 100, list(range(200))))
    monkeypatch.undo()
    train, val = outcome([1, 1, 1, 0] * 400, list(range(1600))), outcome([1, 0] * 300, list(range(1600, 2200)))
    for score in (overfitting, accuracy_gap, lambda train, _: mean(train.labels.tolist(), train.groups.tolist())):
        tracemalloc.start()
        score(train, val)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10e6, "2,000 draws of 2,200 groups at once need 70 MB"
