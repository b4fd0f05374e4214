"""Calibration line, predictive values at another prevalence, conformal sets: against simulation and by hand."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from mammozoo import api
from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.scores import Score
from mammozoo.evaluation.use import at_prevalence, calibration_line, conformal_sets, use_of

from ..helpers import predictions

CLASSES = ("benign", "malignant")


def outcome(labels: np.ndarray, p: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Outcome:
    p = np.stack([1 - p, p], 1) if p.ndim == 1 else p
    return Outcome(classes, labels.astype(np.intp), p, decide(p, 0.5), np.arange(len(p)))


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.normal(-0.5, 1.5, n)
    return (rng.random(n) < expit(z)).astype(np.intp), z


def values(line: dict) -> dict:
    return {name: score and score.value for name, score in line.items()}


def test_the_line_has_the_interval_of_its_groups() -> None:
    """Held in 95 % of simulated sets of pairs; copies of each image change nothing."""
    held = []
    for seed in range(300):
        y, z = drawn(150, seed)
        once = outcome(y, expit(z))
        copies = once.take(np.tile(np.arange(150), 2))
        score, twice = calibration_line(once)["slope"], calibration_line(copies)["slope"]
        assert (twice.low, twice.high) == pytest.approx((score.low, score.high), abs=1e-3)
        held.append(score.low < 1 < score.high)
    assert 0.91 < np.mean(held) < 0.98


def test_the_line_of_right_and_of_overconfident_probabilities() -> None:
    y, z = drawn(40_000)
    right = calibration_line(outcome(y, expit(z)))
    assert values(right) == pytest.approx({"slope": 1, "intercept": 0, "in_the_large": 0}, abs=0.05)
    over = values(calibration_line(outcome(y, expit(2 * z + 1))))
    assert over["slope"] == pytest.approx(0.5, abs=0.03) and over["intercept"] == pytest.approx(-0.5, abs=0.05)
    few = slice(0, 80)
    plain = LogisticRegression(C=1e9, tol=1e-10).fit(z[few, None], y[few])
    found = values(calibration_line(outcome(y[few], expit(z[few]))))
    assert found["slope"] == pytest.approx(plain.coef_[0, 0], abs=1e-3)
    assert found["intercept"] == pytest.approx(plain.intercept_[0], abs=1e-3)
    assert expit(logit(expit(z[few])) + found["in_the_large"]).mean() == pytest.approx(y[few].mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("y", "p", "bounded"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], {"in_the_large"}),  # separated
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], {"in_the_large"}),
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3], {"in_the_large"}),  # constant
        ([1, 1, 1], [0.3, 0.5, 0.0], set()),  # one class, and a certain error
        ([0, 1, 0, 1], [0.0, 0.0, 1.0, 1.0], {"slope", "intercept", "in_the_large"} - {"slope", "intercept"}),
    ],
)
def test_what_the_data_do_not_bound_is_none(y: list[int], p: list[float], bounded: set[str]) -> None:
    line = calibration_line(outcome(np.array(y), np.array(p)))
    if len({*p}) == 2 and len({*y}) == 2:
        assert line["in_the_large"] is not None
        return
    assert {name for name, value in line.items() if value is not None} == bounded
    three = np.full((3, 3), 1 / 3)
    assert calibration_line(outcome(np.arange(3), three, ("a", "b", "c"))) is None


def test_predictive_values_elsewhere_are_bayes() -> None:
    def score(value: float, low: float, high: float) -> Score:
        return Score(value, low, high, 10)

    found = at_prevalence({"sensitivity": score(0.9, 0.8, 1.0), "specificity": score(0.8, 0.7, 1.0)}, 0.01)
    assert found["ppv"]["value"] == pytest.approx(0.009 / (0.009 + 0.198))
    assert found["npv"]["value"] == pytest.approx(0.792 / (0.792 + 0.001))
    assert found["ppv"]["low"] == pytest.approx(0.008 / (0.008 + 0.297)) and found["ppv"]["high"] == 1
    for wrong in (0, 1, -1, float("nan")):
        with pytest.raises(UsageError):
            at_prevalence({}, wrong)


def test_sets_hold_the_truth_as_often_as_promised() -> None:
    covered = {0.9: [], 0.95: []}
    for seed in range(300):
        y, z = drawn(60, seed)
        o = outcome(y, expit(3 * z))  # badly calibrated: that must not matter
        for level, shares in covered.items():
            sets = conformal_sets(o.take(np.arange(30)), o.take(np.arange(30, 60)), level)
            shares.append(sets[np.arange(30), y[30:]].mean())
    for level, shares in covered.items():  # between level and level + 1/31
        assert level - 0.01 < np.mean(shares) < level + 1 / 31 + 0.01
    assert conformal_sets(o.take(np.arange(8)), o, 0.9).all()  # nine are needed


def test_nested_folds_have_no_sets() -> None:
    """An outer fold has no validation part: its sets held all classes, and 100 % of them the truth."""
    y, z = drawn(60)
    rows = predictions(outcome(y, expit(z)), folds="fold-0", parts="test")
    for fold, there in (("fold-0", True), ("fold-0/inner-0", False)):
        validation = predictions(outcome(y, expit(z)), folds=fold, parts="val")
        assert ("conformal" in use_of(rows, validation, {}, None)) == there


def test_a_run_says_them_of_its_test_images(tiny_run, command) -> None:
    answer = command("evaluate", tiny_run.path, "--prevalence", "0.01").ok
    assert "alibration slope" in answer.out and "prevalence" in answer.out and "sets" in answer.out
    use = api.evaluate(tiny_run.path).use
    assert set(use["calibration"]) == {"slope", "intercept", "in_the_large"}
    assert [one["level"] for one in use["conformal"]] == [0.9, 0.95] and "at_prevalence" not in use
    assert 0 <= use["conformal"][0]["coverage_of_groups"] <= use["conformal"][1]["mean_size"]
    command("evaluate", tiny_run.path, "--prevalence", "1").refused(2, "prevalence")
