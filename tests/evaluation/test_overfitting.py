"""β by hand, by group, and in flat memory."""

import tracemalloc

import numpy as np
import pytest

from mammozoo.evaluation.compare import Contender, compare
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import accuracy_gap, mean, overfitting
from mammozoo.training.finish import score as score_run


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


def test_folds_weigh_the_same_as_in_every_other_score() -> None:
    """A fold of ten images and one of thirty: what is lost from training to test is lost from the accuracy that is told."""
    right = {
        "train": ([1] * 9 + [0], [1] * 24 + [0] * 6),
        "val": ([1, 0] * 5, [1] * 30),
        "test": ([1, 0] * 5, [1] * 27 + [0] * 3),
    }
    rows = []
    for part, folds in right.items():
        for number, hits in enumerate(folds):
            of = outcome(hits, list(range(30 * number, 30 * number + len(hits))))
            texts = [np.full(len(hits), text) for text in (f"fold-{number}", part, "")]
            names = np.array([f"{part} {g}" for g in of.groups])
            rows += Predictions(names, *texts, texts[2], of, np.full(len(hits), 0.5), {}).rows()
    predictions = Predictions.from_rows(rows, ("a", "b"))
    scores = score_run(predictions, 0)
    assert scores["accuracy"].value == pytest.approx(0.7) and scores["accuracy"].pooled == pytest.approx(0.8)
    assert scores["accuracy-gap"].value == pytest.approx(0.85 - 0.7)
    assert scores["beta"].value == pytest.approx(0.85 / 0.75)
    for name in ("beta", "accuracy-gap"):
        assert scores[name].n == 40 and scores[name].low < scores[name].value < scores[name].high
        (one,) = compare([Contender(run, predictions) for run in "ab"], name)
        assert one.value_a == one.value_b == pytest.approx(scores[name].value)
    alike = outcome([1, 0] * 20, list(range(40))), outcome([1, 1, 1, 0] * 10, list(range(40)))
    folds = np.repeat(["x", "y"], 20), np.repeat(["x", "y"], 20)
    assert overfitting(*alike, folds=folds) == overfitting(*alike), "of folds of one size to the last digit"


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
