"""Bootstrap intervals: by group, repeatable, honest about what is undefined."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from mammozoo.evaluation.intervals import bca, interval_all
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import leave_out
from mammozoo.evaluation.seeds import mean_score
from mammozoo.evaluation.selective import MORE
from mammozoo_basics.metrics import METRICS

from ..helpers import random_outcome as outcome

METRIC = {metric.name: metric for metric in METRICS}


def copies(o: Outcome, times: int, *, one_group: bool) -> Outcome:
    """Every sample `times` times: copies of one image, which are known for that or taken for news."""
    index = np.tile(np.arange(len(o)), times)
    groups = o.groups[index] if one_group else np.arange(len(index))
    return Outcome(o.classes, o.labels[index], o.probabilities[index], o.decisions[index], groups)


def interval(metric: Metric, o: Outcome, **settings: int) -> tuple[float, float]:
    return interval_all([metric], o, **settings)[metric.name][1]


def width(bounds: tuple[float, float]) -> float:
    return bounds[1] - bounds[0]


@pytest.mark.parametrize("name", ["auc", "accuracy", "macro-f1"])
def test_copies_of_an_image_are_no_news(name: str) -> None:
    o, metric = outcome(n=80), METRIC[name]
    alone = interval(metric, o)
    grouped = interval(metric, copies(o, 4, one_group=True))
    fooled = interval(metric, copies(o, 4, one_group=False))
    assert grouped == pytest.approx(alone, abs=1e-9)
    assert width(fooled) == pytest.approx(width(alone) / 2, rel=0.15)  # a square root of 4
    assert alone[0] < metric.value(o) < alone[1]


def test_the_width_is_that_of_the_binomial_and_repeatable() -> None:
    o = outcome(n=400)
    accuracy = METRIC["accuracy"].value(o)
    low, high = interval(METRIC["accuracy"], o)
    assert width((low, high)) == pytest.approx(2 * 1.96 * math.sqrt(accuracy * (1 - accuracy) / 400), rel=0.08)
    assert (low + high) / 2 == pytest.approx(accuracy, abs=0.01)
    o, auc = outcome(n=80), METRIC["auc"]
    assert interval(auc, o, seed=3) == interval(auc, o, seed=3)
    assert interval(auc, o, seed=3) != interval(auc, o, seed=4)


@pytest.mark.parametrize("name", ["auc", "mcc", "ece"])
def test_without_a_twin_the_bounds_are_the_same(name: str) -> None:
    o, metric = outcome(n=40), METRIC[name]
    plain = dataclasses.replace(metric, resampled=None)
    assert interval(plain, o, draws=60) == pytest.approx(interval(metric, o, draws=60), abs=1e-12)


def test_what_bounds_nothing() -> None:
    o = outcome(n=20)
    one_class = dataclasses.replace(o, labels=np.zeros(20, np.intp))
    assert all(map(math.isnan, interval(METRIC["auc"], one_class, draws=50)))
    never = Metric("never", "", lambda o: float("nan"))
    assert all(map(math.isnan, interval(never, o, draws=50)))
    labels = np.zeros(20, np.intp)
    labels[3] = 1
    assert all(map(math.isnan, interval(METRIC["auc"], dataclasses.replace(o, labels=labels))))
    o = outcome(n=12)
    right = dataclasses.replace(o, decisions=o.labels)
    assert METRIC["mcc"].value(right) == 1
    assert all(map(math.isnan, interval(METRIC["mcc"], right)))


def test_bca_is_that_of_scipy_and_a_symmetric_case_by_hand() -> None:
    rng = np.random.default_rng(0)
    data = rng.exponential(size=40)
    theirs = stats.bootstrap((data,), np.mean, n_resamples=2000, method="BCa", rng=rng)
    without = (data.sum() - data) / 39
    ours = bca(theirs.bootstrap_distribution, data.mean(), without, 10**9)
    assert ours == pytest.approx(theirs.confidence_interval, abs=1e-3)
    draws, jackknife = np.arange(1.0, 10000), np.array([4000.0, 5000, 6000])
    assert bca(draws, 5000, jackknife, 10**9) == pytest.approx((250.95, 9749.05), abs=1)
    share = stats.norm.cdf(-2.2990)
    assert bca(draws, 5000, jackknife, 12) == pytest.approx((10000 * share, 10000 * (1 - share)), abs=2)


@pytest.mark.parametrize("groups", [7, 200, 450])
def test_each_group_is_left_out_once(groups: int) -> None:
    o = copies(outcome(n=groups), 2, one_group=True)
    times = np.concatenate([chunk.times for chunk in leave_out(o, 0)])
    assert times.shape == (min(groups, 200), groups)
    assert ((times == 0).sum(axis=0) == 1).all() and ((times == 0) | (times == 1)).all()
    if groups <= 200:
        assert ((times == 0).sum(axis=1) == 1).all()


def test_the_score_is_inside_though_its_draws_are_biased() -> None:
    """The calibration error of few samples a bin is larger in nearly every draw, of folds' means all the more."""
    rng, folds = np.random.default_rng(1), []
    for fold in range(5):
        p = rng.uniform(0.5, 1, 40)
        labels = (rng.uniform(size=40) < p).astype(int)
        both = np.stack([1 - p, p], axis=1)
        folds.append(Outcome(("a", "b"), labels, both, both.argmax(axis=1), 40 * fold + np.arange(40)))
    (metric,) = (metric for metric in MORE if metric.name == "ece-top-class")
    for of_one_seed in (folds[0], folds):
        score = mean_score(metric, None, [of_one_seed])
        assert score.value and score.low is not None and score.high is not None
        assert 0 < score.low < score.value <= score.high < 0.3
