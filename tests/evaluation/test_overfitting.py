"""β by hand, and by group."""

import numpy as np
import pytest

from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.scores import overfitting


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
