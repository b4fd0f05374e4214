"""Every score by hand or against an independent formula, and its vectorised form against the score itself."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.preprocessing import label_binarize

from mammozoo import Metric
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.resampling import Resamples, Source
from mammozoo_basics.metrics import METRICS

from ..helpers import outcome as by_hand

METRIC = {metric.name: metric for metric in METRICS}


def calibration_error(hit: np.ndarray, p: np.ndarray) -> float:
    """As Naeini 2015 and Guo 2017 write it: a loop over ten bins (0, 0.1], …"""
    edges = np.linspace(0, 1, 11)
    inside = [(p > low) & (p <= high) for low, high in itertools.pairwise(edges)]
    inside[0] |= p == 0
    return sum(b.mean() * abs(hit[b].mean() - p[b].mean()) for b in inside if b.any())


def at(o: Outcome, floor: float, *, positive: bool) -> float:
    """The best recall of one class over all thresholds at which the other has one of at least `floor`."""
    best = 0.0
    for cut in [*np.unique(o.probabilities[:, 1]), 2.0]:
        decisions = o.probabilities[:, 1] >= cut
        tn, fp, fn, tp = sk.confusion_matrix(o.labels, decisions).ravel()
        recalls = tp / (tp + fn), tn / (tn + fp)
        wanted, given = recalls if positive else recalls[::-1]
        if given >= floor:
            best = max(best, wanted)
    return best


NAMES = [metric.name for metric in METRICS]
SEVERAL_NAMES = [metric.name for metric in METRICS if metric.overall]
#: Formulas other than those of the implementation; the other scores are one call of scikit-learn, and are checked by hand.
TWO_CLASSES: dict[str, Callable[[Outcome], float]] = {
    "sensitivity@90specificity": lambda o: at(o, 0.9, positive=True),
    "specificity@90sensitivity": lambda o: at(o, 0.9, positive=False),
    "brier": lambda o: np.mean((o.labels - o.probabilities[:, 1]) ** 2),
    "ece": lambda o: calibration_error(o.labels, o.probabilities[:, 1]),
}
SEVERAL_CLASSES: dict[str, Callable[[Outcome], float]] = {
    "auc": lambda o: sk.roc_auc_score(o.labels, o.probabilities, multi_class="ovr", average="macro"),
    "auprc": lambda o: sk.average_precision_score(
        label_binarize(o.labels, classes=range(len(o.classes))), o.probabilities
    ),
    "brier": lambda o: np.sum((np.eye(len(o.classes))[o.labels] - o.probabilities) ** 2) / len(o),
    "ece": lambda o: calibration_error(o.probabilities.argmax(1) == o.labels, o.probabilities.max(1)),
}


def outcome(classes: int, seed: int, n: int = 60, *, ties: bool = True) -> Outcome:
    """A mediocre classifier; with `ties` probabilities have one digit."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    raw = rng.random((n, classes)) + 0.25 * np.eye(classes)[labels]
    p = raw / raw.sum(1, keepdims=True)
    p = np.round(p, 1) if ties else p
    p[:, 0] = np.clip(1 - p[:, 1:].sum(1), 0, 1)
    return Outcome(tuple("abcd"[:classes]), labels.astype(np.intp), p, decide(p, 0.5), np.arange(n))


def repeated(o: Outcome, times: np.ndarray) -> Outcome:
    index = np.repeat(np.arange(len(o)), times)
    return Outcome(o.classes, o.labels[index], o.probabilities[index], o.decisions[index], o.groups[index])


def twin(metric: Metric, o: Outcome, weights: np.ndarray) -> np.ndarray:
    """The vectorised score of samples that count `weights` (B, N) times; each is a group of its own."""
    assert metric.resampled is not None
    return metric.resampled(Resamples(Source(o), weights.astype(np.int32)))


def test_every_metric_is_tested() -> None:
    assert set(NAMES) == set(DEFINED)
    assert {metric.name for metric in METRICS if not metric.higher_is_better} == {"brier", "ece"}
    assert all(metric.resampled for metric in METRICS)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("name", TWO_CLASSES)
def test_two_classes(name: str, ties: bool) -> None:
    for seed in range(3):
        o = outcome(2, seed, ties=ties)
        assert METRIC[name].value(o) == pytest.approx(TWO_CLASSES[name](o), abs=1e-12)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("name", SEVERAL_CLASSES)
def test_several_classes(name: str, ties: bool) -> None:
    for classes in (3, 4):
        o = outcome(classes, 5, ties=ties)
        assert METRIC[name].value(o) == pytest.approx(SEVERAL_CLASSES[name](o), abs=1e-12)


@pytest.mark.parametrize("name", [metric.name for metric in METRICS if metric.per_class])
def test_one_of_three_classes(name: str) -> None:
    """A class against the rest, on draws of the three-class outcome, is the score of the two-class outcome."""
    o, metric = outcome(3, 7), METRIC[name]
    draws = Resamples(Source(o), np.random.default_rng(1).integers(0, 4, (10, len(o))).astype(np.int32))
    assert metric.resampled is not None
    for number, one in enumerate(draws.each_against_rest):
        found = metric.resampled(one)
        expected = [metric.value(repeated(o.one_against_rest(number), row)) for row in draws.times]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


#: Called positive from 0.5 on: tp 3, fn 1, tn 4, fp 2.
TEN = by_hand([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.8, 0.6, 0.3, 0.7, 0.5, 0.3, 0.2, 0.1, 0.1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Of 24 pairs 0.9 and 0.8 win 6 each, 0.6 wins 5, 0.3 wins 3 and half of a tie.
        ("auc", 20.5 / 24),
        # At the positives 0.9, 0.8, 0.6 and 0.3 (with its tie) precision is 1/1, 2/2, 3/4, 4/7.
        ("auprc", (1 + 1 + 3 / 4 + 4 / 7) / 4),
        ("accuracy", 7 / 10),
        ("balanced-accuracy", (3 / 4 + 4 / 6) / 2),
        ("macro-f1", (2 * 3 / (4 + 5) + 2 * 4 / (6 + 5)) / 2),
        ("mcc", (3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5)),
        # Chance agrees in (4 · 5 + 6 · 5) / 100 = ½.
        ("kappa", (0.7 - 0.5) / (1 - 0.5)),
        ("sensitivity", 3 / 4),
        ("specificity", 4 / 6),
        ("ppv", 3 / 5),
        ("npv", 4 / 5),
        ("f1", 2 * 3 / (4 + 5)),
        # No false positive is allowed (1 of 6 leaves 83 %): 0.9 and 0.8 are found.
        ("sensitivity@90specificity", 2 / 4),
        # All four must be found (3 of 4 are 75 %): from 0.3 on, where three of six negatives are called.
        ("specificity@90sensitivity", 3 / 6),
        ("brier", (0.01 + 0.04 + 0.16 + 0.49 + 0.49 + 0.25 + 0.09 + 0.04 + 0.01 + 0.01) / 10),
        # Bins to 0.1: 0 of 2; 0.2: 0 of 1; 0.3: 1 of 2; 0.5: 0 of 1; 0.6: 1 of 1; 0.7: 0 of 1; 0.8, 0.9: 1 of 1.
        ("ece", (2 * 0.1 + 0.2 + 2 * 0.2 + 0.5 + 0.4 + 0.7 + 0.2 + 0.1) / 10),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    assert METRIC[name].value(TEN) == pytest.approx(expected, abs=1e-12)
    assert twin(METRIC[name], TEN, np.ones((1, 10))) == pytest.approx(expected, abs=1e-12)


def test_three_classes_by_hand() -> None:
    """Confusion, rows are labels: (2, 0, 0), (1, 1, 0), (0, 1, 1)."""
    p = np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0, 0.2, 0.8]])
    o = Outcome(("a", "b", "c"), np.array([0, 0, 1, 1, 2, 2]), p, p.argmax(1), np.arange(6))
    expected = {
        "accuracy": 4 / 6,
        "balanced-accuracy": (1 + 1 / 2 + 1 / 2) / 3,
        "macro-f1": (4 / 5 + 2 / 4 + 2 / 3) / 3,
        # Called 3, 2 and 1 times: chance agrees in (2·3 + 2·2 + 2·1) / 36 = ⅓.
        "kappa": (4 / 6 - 1 / 3) / (1 - 1 / 3),
        "mcc": (4 * 6 - 12) / math.sqrt((36 - 14) * (36 - 12)),
        "brier": (0.06 + 0.24 + (0.25 + 0.36 + 0.01) + 0.06 + (0.01 + 0.36 + 0.49) + 0.08) / 6,
        # The most probable class, and whether it is right: 0.5 no; 0.6 yes, no; 0.8 yes, yes, yes.
        "ece": (0.5 + 2 * 0.1 + 3 * 0.2) / 6,
    }
    for name, value in expected.items():
        assert METRIC[name].value(o) == pytest.approx(value, abs=1e-12), name
        assert twin(METRIC[name], o, np.ones((1, 6))) == pytest.approx(value, abs=1e-12), name


def test_ninety_percent_is_enough() -> None:
    """Exactly nine of ten, which no rounding may lose: one false positive of ten is allowed, one miss of ten too."""
    o = by_hand([1] * 10 + [0] * 10, [0.9] * 9 + [0.1] + [0.95] + [0.2] * 9)
    for name in ("sensitivity@90specificity", "specificity@90sensitivity"):
        for times in (1, 3, 7):
            weights = np.full((1, 20), times)
            assert METRIC[name].value(repeated(o, weights[0])) == pytest.approx(0.9)
            assert twin(METRIC[name], o, weights) == pytest.approx(0.9)


DEFINED = {  # with labels all 0, all 1; decisions are of both classes
    "auc": (False, False), "auprc": (False, False), "accuracy": (True, True), "balanced-accuracy": (False, False),
    "macro-f1": (True, True), "mcc": (False, False), "kappa": (False, False), "sensitivity": (False, True),
    "specificity": (True, False), "ppv": (True, True), "npv": (True, True), "f1": (True, True),
    "sensitivity@90specificity": (False, False), "specificity@90sensitivity": (False, False),
    "brier": (True, True), "ece": (True, True),
}  # fmt: skip


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("name", DEFINED)
@pytest.mark.filterwarnings("error")
def test_one_class_only(name: str, label: int) -> None:
    o, metric = by_hand([label] * 3, [0.7, 0.4, 0.8]), METRIC[name]
    (found,) = twin(metric, o, np.ones((1, 3)))
    assert math.isnan(metric.value(o)) != DEFINED[name][label]
    assert found == pytest.approx(metric.value(o), nan_ok=True)


@pytest.mark.parametrize("called", [0, 1])
@pytest.mark.parametrize("name", DEFINED)
@pytest.mark.filterwarnings("error")
def test_all_called_the_same(name: str, called: int) -> None:
    """A share of no sample is undefined; a correlation with constant decisions is 0, as in scikit-learn."""
    o = dataclasses.replace(outcome(2, 1), decisions=np.full(60, called, np.intp))
    value = METRIC[name].value(o)
    assert math.isnan(value) == ((name, called) in {("ppv", 0), ("npv", 1)})
    assert twin(METRIC[name], o, np.ones((1, 60))) == pytest.approx(value, nan_ok=True)
    if name in ("mcc", "kappa"):
        assert value == 0


@pytest.mark.parametrize("name", SEVERAL_NAMES)
@pytest.mark.filterwarnings("error")
def test_a_class_without_samples(name: str) -> None:
    """Three classes, two in the data: no AUC; macro F1 counts the absent one as 0; both ways of computing agree."""
    o = outcome(3, 2)
    times = (o.labels != 2).astype(int)
    value = METRIC[name].value(repeated(o, times))
    assert math.isnan(value) == (name in ("auc", "auprc", "balanced-accuracy"))
    assert twin(METRIC[name], o, times[None]) == pytest.approx(value, nan_ok=True)
