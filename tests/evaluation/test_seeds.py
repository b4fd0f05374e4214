"""Scores over several seeds: by hand, as one run's own interval, and against a bootstrap written out."""

import numpy as np
import pytest

from mammozoo.evaluation.intervals import DRAWS, resample
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.resampling import draw
from mammozoo.evaluation.scores import Score, as_json, score_all
from mammozoo.evaluation.seeds import align, mean_score, score_folds
from mammozoo.plugins import registry

from ..helpers import CLASSES, predictions
from ..helpers import outcome as _outcome

AUC = registry().get("metrics", "auc")
ACCURACY = registry().get("metrics", "accuracy")


def _random(seed: int, groups: np.ndarray, shift: float = 1.0) -> Outcome:
    """Labels hang on the group alone, so that runs with other seeds agree on them."""
    rng = np.random.default_rng(seed)
    labels = (groups % 3 == 0).astype(np.intp)
    return _outcome(
        labels.tolist(), (1 / (1 + np.exp(-shift * labels - rng.normal(size=len(groups))))).tolist(), groups.tolist()
    )


def test_the_mean_and_the_seeds_by_hand_and_one_class_against_the_rest() -> None:
    """Of four images one seed has three right, the other one; they share two groups."""
    one = _outcome([0, 0, 1, 1], [0.1, 0.2, 0.9, 0.4], [0, 1, 2, 3])
    other = _outcome([0, 0, 1, 1], [0.6, 0.7, 0.8, 0.3], [2, 3, 4, 5])
    found = mean_score(ACCURACY, None, [one, other])
    assert (found.least, found.most) == (0.25, 0.75)
    assert found.value == pytest.approx(0.5)
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
    outcome = Outcome(("a", "b", "c"), np.array([0, 1, 2, 0]), p, p.argmax(axis=1), np.arange(4))
    assert mean_score(AUC, 0, [outcome]).value == pytest.approx(AUC.value(outcome.one_against_rest(0)))


def test_two_seeds_alike_have_the_interval_of_one() -> None:
    outcome = _random(2, np.arange(80))
    once, twice = mean_score(AUC, None, [outcome]), mean_score(AUC, None, [outcome, outcome])
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


def test_a_group_is_drawn_for_all_seeds_or_none() -> None:
    """The spread of the mean is that of draws written out: a group is in both seeds as often, wherever it stands."""
    rng = np.random.default_rng(5)
    groups = [np.sort(rng.choice(60, 40, replace=False)) for _ in range(2)]
    outcomes = [_random(seed, numbers) for seed, numbers in enumerate(groups)]
    union = np.unique(np.concatenate(groups))
    slow = []
    for _ in range(1500):
        drawn = rng.choice(union, len(union))
        picks = [np.concatenate([np.flatnonzero(o.groups == g) for g in drawn]) for o in outcomes]
        slow.append(np.mean([ACCURACY.value(o.take(pick)) for o, pick in zip(outcomes, picks, strict=True)]))
    found = mean_score(ACCURACY, None, outcomes)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(slow), rel=0.12)


def test_a_difference_is_on_the_same_draws() -> None:
    """With one seed each on one test set it is the paired bootstrap; a run does not differ from itself."""
    a, b = _random(3, np.arange(100), 2.0), _random(4, np.arange(100), 1.0)
    found = mean_score(AUC, None, [a], minus=[b])
    assert found.value == pytest.approx(AUC.value(a) - AUC.value(b))
    one, other = (resample([AUC], o, draw(o, DRAWS, 0))["auc"] for o in (a, b))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(one - other, [0.025, 0.975])), abs=0.015)
    same = mean_score(AUC, None, [a], minus=[a])
    assert same.value == 0
    assert same.low is None


def test_groups_of_two_runs_are_numbered_alike() -> None:
    """Equal numbers of two runs say nothing; x and y are one group in the second run only, then in both."""
    first = predictions(_outcome([0, 1, 0], [0.1, 0.9, 0.2], [7, 8, 9]), ["x", "y", "z"])
    second = predictions(_outcome([0, 1, 1], [0.1, 0.9, 0.8], [7, 7, 9]), ["x", "y", "w"])
    a, b = align([first, second])
    assert a.groups[0] == a.groups[1] == b.groups[0] == b.groups[1]
    assert len({a.groups[0], a.groups[2], b.groups[2]}) == 3
    assert a.labels.tolist() == [0, 1, 0]


# ---------------------------------------------------------------- the folds and repeats of one run


def _folds(*outcomes: Outcome, repeat: str = "") -> list[dict[str, object]]:
    rows = []
    for number, one in enumerate(outcomes):
        names = [f"{number}-{i:03d}" for i in range(len(one))]
        test = predictions(one, names, folds=f"fold-{number}", parts="test")
        rows += [row | ({"repeat": repeat} if repeat else {}) for row in test.rows()]
    return rows


def _scored(rows: list[dict[str, object]]) -> dict[str, Score]:
    return score_folds(Predictions.from_rows(rows, CLASSES).of("test"))


def test_folds_are_scored_one_by_one_whatever_their_scale() -> None:
    """Each fold ranks its images without error; one model is surer of a benign image than the other of a malignant one."""
    one = _outcome([0, 0, 1, 1] * 5, [0.7, 0.8, 0.9, 0.95] * 5)
    other = _outcome([0, 0, 1, 1] * 5, [0.1, 0.2, 0.3, 0.6] * 5, list(range(20, 40)))
    scores = _scored(_folds(one, other))
    assert scores["auc"].value == 1 and scores["auc"].pooled == pytest.approx(0.75) and scores["auc"].sd is None
    assert scores["accuracy"].value == pytest.approx((0.5 + 0.75) / 2) and scores["accuracy"].n == 40
    assert scores["sensitivity"].value == scores["sensitivity"].pooled == 0.75
    assert set(as_json(scores)["auc"]) == {"value", "low", "high", "n", "pooled"}


def test_repeats_have_a_mean_and_a_spread_and_one_fold_is_as_before() -> None:
    runs = [_random(seed, np.arange(60)) for seed in range(3)]
    one = _scored(_folds(runs[0]))
    assert one == score_all(runs[0]) and set(as_json(one)["auc"]) == {"value", "low", "high", "n"}
    scores = _scored([row for number, run in enumerate(runs) for row in _folds(run, repeat=str(number))])
    aucs = [AUC.value(run) for run in runs]
    assert scores["auc"].value == pytest.approx(np.mean(aucs)) and scores["auc"].sd == pytest.approx(
        np.std(aucs, ddof=1)
    )
    assert scores["auc"].pooled is None and scores["auc"].n == 60
    drawn = mean_score(AUC, None, runs)
    assert (scores["auc"].low, scores["auc"].high) == pytest.approx((drawn.low, drawn.high))


def test_a_score_that_a_fold_does_not_have() -> None:
    """Nothing was decided malignant in the second fold, so it has no PPV; the pooled one stays."""
    one, other = _outcome([0, 1] * 6, [0.2, 0.9] * 6), _outcome([0, 1] * 6, [0.1, 0.3] * 6, list(range(12, 24)))
    ppv = _scored(_folds(one, other))["ppv"]
    assert ppv.value is None and ppv.low is None and ppv.pooled == 1
