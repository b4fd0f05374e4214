"""Proportions: n is the number of their class, 0/n and n/n have an exact interval by group, and numpy warns of nothing."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
from scipy.stats import beta

from mammozoo.cli.output import print_scores
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.scores import accuracy_gap, as_json, mean, overfitting, score_all
from mammozoo.evaluation.seeds import mean_score
from mammozoo.plugins import registry

from ..helpers import outcome

#: 5 positive images in 3 groups, 8 negative ones in 6; all positive ones are found, so are all negative ones.
LABELS, GROUPS = [1] * 5 + [0] * 8, [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7, 8]


def lower(groups: int) -> float:
    """The lower Clopper-Pearson bound of n/n, from the beta distribution."""
    return float(beta.ppf(0.025, groups, 1))


def sides(number: int) -> Outcome:
    """The first `number` positive images are called positive, the rest are not."""
    return outcome(LABELS, [0.9] * number + [0.1] * (13 - number), GROUPS)


def test_n_is_the_number_of_the_class_and_a_whole_proportion_has_an_interval() -> None:
    scores = score_all(sides(5))
    of = {"sensitivity": (5, 3), "specificity": (8, 6), "ppv": (5, 3), "npv": (8, 6), "accuracy": (13, 9)}
    of |= {"sensitivity@90specificity": of["sensitivity"], "specificity@90sensitivity": of["specificity"]}
    for name, (n, groups) in of.items():
        found = scores[name]
        assert (found.value, found.n) == (1, n), name
        assert (found.low, found.high) == pytest.approx((lower(groups), 1)), name
    assert scores["auc"].n == scores["f1"].n == 13 and scores["mcc"].low is None
    scores = score_all(sides(0))
    assert scores["sensitivity"].value == 0 and scores["npv"].n == 13
    assert (scores["sensitivity"].low, scores["sensitivity"].high) == pytest.approx((0, 1 - lower(3)))
    assert scores["ppv"] == dataclasses.replace(scores["ppv"], value=None, low=None, high=None, n=0)
    part = score_all(sides(3))["sensitivity"]
    assert part.n == 5 and part.low is not None and 0 <= part.low < 0.6 < part.high <= 1


def test_each_class_against_the_rest_counts_its_own() -> None:
    labels = np.array([0, 0, 1, 1, 1, 2], np.intp)
    three = Outcome(("a", "b", "c"), labels, np.eye(3)[labels], labels, np.arange(6))
    scores = score_all(three)
    assert [scores[f"sensitivity[{name}]"].n for name in "abc"] == [2, 3, 1]
    assert [scores[f"specificity[{name}]"].n for name in "abc"] == [4, 3, 5]
    assert scores["sensitivity[c]"].low == pytest.approx(0.025), "one group alone"
    assert scores["auc[c]"].n == scores["accuracy"].n == 6


def test_seeds_and_means_of_shares_too() -> None:
    seeds = [sides(5)] * 6
    sensitivity = registry().get("metrics", "sensitivity")
    assert mean_score(sensitivity, None, seeds)[1:3] == pytest.approx((lower(3), 1))
    assert mean_score(sensitivity, None, seeds, minus=seeds).low is None, "a difference is no proportion"
    for value, bounds in ((1.0, (lower(3), 1)), (0.0, (0, 1 - lower(3)))):
        hits = mean([value] * 5, GROUPS[:5], shares=True)
        assert (hits.low, hits.high) == pytest.approx(bounds)
    assert mean([1.0] * 5, GROUPS[:5]).low is None, "a correlation of 1 is no proportion"


def test_a_score_without_interval_says_so(capsys) -> None:
    print_scores(as_json(score_all(sides(5))))
    printed = capsys.readouterr().out
    assert "–––" not in printed and "none" in printed and "0.292–1.000" in printed


def test_numpy_warns_of_nothing() -> None:
    """One group, one class, one image, certain and tied probabilities: every score and interval, without a warning."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            k, n = int(rng.integers(2, 4)), int(rng.integers(1, 8))
            labels = rng.integers(0, k, n) if rng.random() < 0.6 else np.full(n, rng.integers(0, k))
            p = rng.dirichlet(np.ones(k), n) if rng.random() < 0.7 else np.eye(k)[rng.integers(0, k, n)]
            few = Outcome(
                tuple("abc"[:k]), labels, p, decide(p, rng.random()), rng.integers(0, rng.integers(1, n + 1), n)
            )
            for score in (*score_all(few).values(), overfitting(few, few), accuracy_gap(few, few)):
                assert score.value is None or math.isfinite(score.value)
            for item in registry().items("metrics").values():
                for number in item.value.keys(few.classes).values():
                    mean_score(item.value, number, [few, few.take(np.arange(1))], seed=1)
