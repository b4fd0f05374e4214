"""Every score against scikit-learn, and its vectorised twin against the score itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from mammozoo import Metric
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo_basics.metrics import METRICS

METRIC = {metric.name: metric for metric in METRICS}

BINARY: dict[str, Callable[[Outcome], float]] = {
    "auc": lambda o: sk.roc_auc_score(o.labels, o.probabilities[:, 1]),
    "accuracy": lambda o: sk.accuracy_score(o.labels, o.decisions),
    "balanced-accuracy": lambda o: sk.balanced_accuracy_score(o.labels, o.decisions),
    "macro-f1": lambda o: sk.f1_score(o.labels, o.decisions, average="macro"),
    "sensitivity": lambda o: sk.recall_score(o.labels, o.decisions, pos_label=1),
    "specificity": lambda o: sk.recall_score(o.labels, o.decisions, pos_label=0),
    "f1": lambda o: sk.f1_score(o.labels, o.decisions),
}
SEVERAL: dict[str, Callable[[Outcome], float]] = {
    "auc": lambda o: sk.roc_auc_score(o.labels, o.probabilities, multi_class="ovr", average="macro"),
    "accuracy": BINARY["accuracy"],
    "balanced-accuracy": BINARY["balanced-accuracy"],
    "macro-f1": BINARY["macro-f1"],
}


def outcome(classes: int, seed: int, n: int = 60) -> Outcome:
    """A middling classifier; probabilities of one digit, so that there are many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    raw = rng.random((n, classes)) + 0.25 * np.eye(classes)[labels]
    p = np.round(raw / raw.sum(1, keepdims=True), 1)
    p[:, 0] = 1 - p[:, 1:].sum(1)
    return Outcome(tuple("abcd"[:classes]), labels.astype(np.intp), p, decide(p, 0.5), np.arange(n))


def repeated(o: Outcome, times: np.ndarray) -> Outcome:
    index = np.repeat(np.arange(len(o)), times)
    return Outcome(o.classes, o.labels[index], o.probabilities[index], o.decisions[index], o.groups[index])


def test_none_is_forgotten() -> None:
    assert set(METRIC) == set(BINARY)
    assert {name for name, metric in METRIC.items() if metric.overall} == set(SEVERAL)
    assert all(metric.higher_is_better and metric.resampled for metric in METRICS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", BINARY)
def test_two_classes(name: str, seed: int) -> None:
    o = outcome(2, seed)
    assert len(np.unique(o.probabilities[:, 1])) < len(o) / 2, "there are ties"
    assert METRIC[name].value(o) == pytest.approx(BINARY[name](o), abs=1e-12)


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("name", SEVERAL)
def test_several_classes(name: str, classes: int) -> None:
    o = outcome(classes, 5)
    assert METRIC[name].value(o) == pytest.approx(SEVERAL[name](o), abs=1e-12)


def cases() -> list[tuple[str, int]]:
    return [(name, 2) for name in BINARY] + [(name, classes) for name in SEVERAL for classes in (3, 4)]


@pytest.mark.parametrize(("name", "classes"), cases())
def test_resampled_twin(name: str, classes: int) -> None:
    o, metric = outcome(classes, 7), METRIC[name]
    assert metric.resampled is not None
    times = np.random.default_rng(1).integers(0, 4, (20, len(o)))
    weights = np.concatenate([np.ones((1, len(o))), times])
    found = metric.resampled(o, weights)
    assert found.shape == (21,)
    expected = [metric.value(o), *(metric.value(repeated(o, row)) for row in times)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert len(set(np.round(found, 6))) > 5, "weights matter"


def test_auc_by_hand() -> None:
    """Pairs (positive, negative): 0.8 > 0.5, 0.8 > 0.2, 0.5 = 0.5, 0.5 > 0.2: 3.5 of 4."""
    p = np.array([0.2, 0.5, 0.5, 0.8])
    o = Outcome(
        ("n", "y"), np.array([0, 0, 1, 1]), np.stack([1 - p, p], 1), decide(np.stack([1 - p, p], 1), 0.5), np.arange(4)
    )
    auc = METRIC["auc"]
    assert auc.resampled is not None
    assert auc.value(o) == 3.5 / 4
    assert auc.resampled(o, np.ones((1, 4))).tolist() == [3.5 / 4]


def only(label: int) -> Outcome:
    p = np.array([[0.3, 0.7], [0.6, 0.4], [0.2, 0.8]])
    return Outcome(("n", "y"), np.full(3, label, np.intp), p, decide(p, 0.5), np.arange(3))


@pytest.mark.parametrize(
    ("name", "label", "defined"),
    [
        ("auc", 0, False), ("auc", 1, False), ("balanced-accuracy", 0, False), ("balanced-accuracy", 1, False),
        ("sensitivity", 0, False), ("sensitivity", 1, True), ("specificity", 0, True), ("specificity", 1, False),
        ("accuracy", 0, True), ("f1", 1, True),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_one_class_only(name: str, label: int, defined: bool) -> None:
    o, metric = only(label), METRIC[name]
    assert metric.resampled is not None
    (twin,) = metric.resampled(o, np.ones((1, 3)))
    assert math.isnan(metric.value(o)) != defined
    assert math.isnan(twin) != defined


@pytest.mark.filterwarnings("error")
def test_a_class_that_nobody_has() -> None:
    """Three classes, two in the data: no AUC; macro F1 counts the absent one as 0, in both ways of computing it."""
    o = outcome(3, 2)
    keep = np.flatnonzero(o.labels != 2)
    times = np.isin(np.arange(len(o)), keep).astype(int)
    for metric in (METRIC["auc"], METRIC["balanced-accuracy"]):
        assert metric.resampled is not None
        assert math.isnan(metric.value(repeated(o, times)))
        assert math.isnan(metric.resampled(o, times[None].astype(float))[0])
    f1: Metric = METRIC["macro-f1"]
    assert f1.resampled is not None
    assert f1.resampled(o, times[None].astype(float))[0] == pytest.approx(f1.value(repeated(o, times)))
