"""Thresholds in cases small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import decide
from mammozoo.evaluation.thresholds import RULES, choose_threshold


def choose(rule: str, labels: list[int], positive: list[float]) -> float:
    return choose_threshold(rule, np.array(labels, np.intp), np.array(positive))


#: 5 negatives, 10 positives. ROC (FPR, TPR) at cut: 0.9 (0, .5), 0.7 (.4, .5), 0.5 (.4, .8), 0.2 (1, .8), 0.1 (1, 1).
#: Squared distance to the corner .25 .41 .20 1.04 1; TPR − FPR .5 .1 .4 −.2 0.
LABELS = [1] * 5 + [0] * 2 + [1] * 3 + [0] * 3 + [1] * 2
POSITIVE = [0.9] * 5 + [0.7] * 2 + [0.5] * 3 + [0.2] * 3 + [0.1] * 2


@pytest.mark.parametrize(("rule", "cut"), [("closest-to-corner", 0.35), ("youden", 0.8), ("half", 0.5)])
def test_the_rules_differ(rule: str, cut: float) -> None:
    assert choose(rule, LABELS, POSITIVE) == pytest.approx(cut)
    order = np.random.default_rng(0).permutation(len(LABELS))
    assert choose(rule, [LABELS[i] for i in order], [POSITIVE[i] for i in order]) == pytest.approx(cut)


@pytest.mark.parametrize("rule", ["closest-to-corner", "youden"])
def test_separable_classes_are_cut_in_the_middle(rule: str) -> None:
    cut = choose(rule, [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.9])
    assert cut == pytest.approx(0.25)
    p = np.array([0.1, 0.2, 0.3, 0.9])
    assert decide(np.stack([1 - p, p], 1), cut).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("rule", ["closest-to-corner", "youden"])
def test_ties_stay_together(rule: str) -> None:
    """At 0.6 stand a negative and a positive: cut 0.6 gives (1/3, 1), cut 0.8 gives (0, 1/2)."""
    assert choose(rule, [0, 0, 0, 1, 1], [0.1, 0.2, 0.6, 0.6, 0.8]) == pytest.approx(0.4)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_to_choose_from(rule: str) -> None:
    assert choose(rule, [1, 1, 1], [0.7, 0.8, 0.9]) == 0.5
    assert choose(rule, [0, 0], [0.7, 0.8]) == 0.5
    assert choose(rule, [0, 1], [0.3, 0.3]) == 0.5


@pytest.mark.parametrize("rule", RULES)
def test_always_a_probability(rule: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels = rng.integers(0, 2, 12).tolist()
        positive = rng.integers(0, 5, 12) / 4
        assert 0 <= choose(rule, labels, positive.tolist()) <= 1


def test_unknown_rule() -> None:
    with pytest.raises(UsageError, match="Did you mean 'youden'"):
        choose("yuden", [0, 1], [0.1, 0.9])


def test_decide() -> None:
    p = np.array([[0.6, 0.4], [0.5, 0.5], [0.3, 0.7]])
    assert decide(p, 0.5).tolist() == [0, 1, 1], "at the threshold is above it"
    assert decide(p, 0.71).tolist() == [0, 0, 0]
    three = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert decide(three, 0.99).tolist() == [1, 0], "more than two classes know no threshold"
