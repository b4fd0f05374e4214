"""Risk and coverage, calibration by the top class, and where mistakes gather: against their definitions, and large outcomes."""

import dataclasses

import numpy as np
import pytest

from mammozoo.evaluation import resampling
from mammozoo.evaluation.intervals import interval_all
from mammozoo.evaluation.outcome import decide
from mammozoo.evaluation.resampling import Resamples, Source
from mammozoo.evaluation.scores import installed, score_all
from mammozoo.evaluation.seeds import score_folds
from mammozoo.evaluation.selective import MORE, confidence, curve, study

from ..helpers import outcome, predictions, random_outcome

MORE_BY_NAME = {metric.name: metric for metric in MORE}


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_their_definitions(classes: int) -> None:
    o = random_outcome(classes, n=90)
    if classes == 2:
        o = dataclasses.replace(o, decisions=decide(o.probabilities, 0.3))
    sure, wrong = confidence(o), o.decisions != o.labels
    order = np.argsort(-sure, kind="stable")
    risks = [wrong[order][:k].mean() for k in range(1, 91)]
    assert MORE_BY_NAME["aurc"].value(o) == pytest.approx(np.mean(risks))
    assert curve(o)[-1] == (1.0, pytest.approx(wrong.mean())) and [risk for _, risk in curve(o)] == pytest.approx(risks)
    squares = (o.probabilities - np.eye(classes)[o.labels]) ** 2
    assert MORE_BY_NAME["brier-all-classes"].value(o) == pytest.approx(squares.sum() / 90)
    top, right, gaps = o.probabilities.max(axis=1), o.probabilities.argmax(axis=1) == o.labels, 0.0
    for low in np.arange(10) / 10:
        inside = (top > low) & (top <= low + 0.1)
        gaps += abs(right[inside].sum() - top[inside].sum()) / 90
    assert MORE_BY_NAME["ece-top-class"].value(o) == pytest.approx(gaps)


@pytest.mark.parametrize("metric", MORE, ids=lambda metric: metric.name)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_draw_is_the_score_of_its_rows(metric, classes: int) -> None:
    """A sample that was drawn twice is a tie, whose mistakes are spread evenly: both copies are right or wrong alike."""
    o, rng = random_outcome(classes, n=60, groups=20), np.random.default_rng(1)
    times = np.vstack([np.ones(20, np.int32), rng.integers(0, 4, (3, 20), dtype=np.int32)])
    source = Source(o)
    for row, value in zip(times, metric.resampled(Resamples(source, times)), strict=True):
        assert value == pytest.approx(metric.value(o.take(np.repeat(np.arange(60), row[source.index]))), abs=1e-12)


def test_what_is_missed_and_where() -> None:
    labels, p = [1, 1, 1, 1, 0, 0, 1, 0], [0.1, 0.04, 0.3, 0.9, 0.85, 0.2, 0.45, 0.4]
    rows = predictions(outcome(labels, p), patients=np.array(list("AABBCCDD")))
    found = study(rows)
    assert found["missed"] == {
        "n": 4, "of": 5, "unit": "patients",
        "patients": 3, "of_worst": 4, "share_of_worst": 1.0, "as": {"benign": 4},
        "worst": [{"patient": name, "missed": many} for name, many in (("A", 2), ("B", 1), ("D", 1))],
    }  # fmt: skip
    assert [(row["mistakes"], row["missed"]) for row in found["confident_mistakes"]] == [(3, 2), (2, 2), (1, 1)]
    row = found["risk_coverage"]["at"][3]
    assert (row["confidence"], row["n"], row["missed"], row["positives_abstained"]) == (0.8, 5, 2, 2)
    assert (row["accuracy"], row["sensitivity"], row["specificity"]) == (
        pytest.approx(2 / 5),
        pytest.approx(1 / 3),
        0.5,
    )
    hard = study(dataclasses.replace(rows, decided_only=True))
    assert hard.keys() == {"positive", "missed"}
    three = predictions(dataclasses.replace(random_outcome(3), classes=("cyst", "malignant", "normal")))
    o = three.outcome
    taken = [o.classes[k] for k in o.decisions[(o.labels == 1) & (o.decisions != 1)]]
    assert taken and study(three)["missed"]["as"] == {name: taken.count(name) for name in {*taken}}


def test_without_probabilities_there_are_only_scores_of_decisions() -> None:
    o = random_outcome(2)
    scores = score_folds(predictions(dataclasses.replace(o, probabilities=np.eye(2)[o.decisions])), more=MORE)
    hard = score_folds(dataclasses.replace(predictions(o), decided_only=True), more=MORE)
    assert {"accuracy", "sensitivity", "kappa", "ppv"} <= hard.keys() and hard.keys().isdisjoint(
        {"auc", "brier", "ece", "aurc"}
    )
    assert all(scores[name] == score for name, score in hard.items()), "they read no probability"


def test_percentiles_are_quantiles_of_draws() -> None:
    o = random_outcome(2, n=80, groups=40)
    metrics = [metric for metric in installed() if metric.name in ("accuracy", "auc")]
    plain = score_all(o, metrics=metrics, kind="percentile")
    rng, accuracy = np.random.default_rng(3), metrics[1]
    values = [
        accuracy.value(o.take(np.concatenate([np.flatnonzero(o.groups == g) for g in rng.integers(0, 40, 40)])))
        for _ in range(600)
    ]
    assert accuracy.name == "accuracy"
    assert [plain["accuracy"].low, plain["accuracy"].high] == pytest.approx(
        np.quantile(values, [0.025, 0.975]), abs=0.02
    )
    assert plain["auc"] != score_all(o, metrics=metrics)["auc"]


def test_a_large_outcome_costs_little_and_has_the_same_intervals(monkeypatch) -> None:
    """Groups are dealt out and ranks joined; the intervals are those of the whole up to the noise of the draws."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 12_000)
    o = outcome(labels, 1 / (1 + np.exp(-(labels + rng.normal(size=12_000) - 0.5))), np.arange(12_000) // 2)
    metrics = [
        metric
        for metric in (*installed(), *MORE)
        if metric.name in ("auc", "auprc", "accuracy", "aurc", "sensitivity@90specificity")
    ]
    whole = interval_all(metrics, o, draws=300)
    monkeypatch.setattr(resampling, "LARGE", 10_000)
    large = interval_all(metrics, o, draws=300)
    for name, (value, (low, high)) in whole.items():
        assert large[name][0] == value
        assert large[name][1] == pytest.approx((low, high), abs=0.3 * (high - low)), name
    assert large != whole
