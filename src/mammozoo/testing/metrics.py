"""What a metric must keep: one direction, no surprise where a class is missing, and no eye for the order of samples."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.resampling import draw
from mammozoo.testing.check import Rule, Subject, rule
from mammozoo.testing.common import has_name_and_summary

_N = 60
_DRAWS = 20

MetricSubject = Subject[Metric]


@rule(
    "It is computed on every test part of every run; whatever else than a number ends the evaluation.",
    "Return `float(...)`.",
)
def gives_a_float(subject: MetricSubject) -> str | None:
    """Of a fair model of two classes it gives a finite float."""
    value = subject.value.value(_guessed(2))
    return None if isinstance(value, float) and math.isfinite(value) else f"It gives {value!r}."


@rule(
    "The best epoch is chosen by it, and comparisons say which model is ahead.",
    "Set `higher_is_better` as the score runs.",
    needs=[gives_a_float],
)
def direction_is_right(subject: MetricSubject) -> str | None:
    """A model that is always right and sure scores better than one that is always wrong and sure."""
    metric = subject.value
    right, wrong = (metric.value(_sure(correct)) for correct in (True, False))
    if math.isnan(right):
        return "It is undefined for a perfect model."
    if math.isnan(wrong) or (right > wrong if metric.higher_is_better else right < wrong):
        return None
    better = "higher" if metric.higher_is_better else "lower"
    return f"{better.capitalize()} is said to be better, but a perfect model has {right:g} and the worst {wrong:g}."


@rule(
    "A small fold or one site may hold one class; the whole table must not fail with it.",
    "Return NaN where the score is undefined.",
    needs=[gives_a_float],
)
def single_class_input(subject: MetricSubject) -> str | None:
    """With samples of one class alone it gives a number or NaN, and raises nothing."""
    for label in (0, 1):
        outcome = _guessed(2)
        one = outcome.take(np.flatnonzero(outcome.labels == label))
        value = subject.value.value(one)
        if not isinstance(value, float) or math.isinf(value):
            return f"With class {label} alone it gives {value!r}, neither a finite float nor NaN."
    return None


@rule(
    "Samples come in no order that means anything.",
    "Use no neighbour, index or position; break ties evenly.",
    needs=[gives_a_float],
)
def agrees_over_permutations(subject: MetricSubject) -> str | None:
    """The same samples in another order have the same score, also where probabilities tie."""
    for outcome in _outcomes(subject.value):
        order = np.random.default_rng(1).permutation(len(outcome))
        one, two = subject.value.value(outcome), subject.value.value(outcome.take(order))
        if not math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-12) and not (math.isnan(one) and math.isnan(two)):
            return f"The same samples score {one:g} in one order and {two:g} in another."
    return None


@rule(
    "All metrics share one outcome: what one changes, the others take for the model's.",
    "Copy before you sort or change.",
    needs=[gives_a_float],
)
def leaves_its_input_alone(subject: MetricSubject) -> str | None:
    """Labels, probabilities and decisions are as before."""
    for outcome in _outcomes(subject.value):
        before = outcome.take(np.arange(len(outcome)))
        subject.value.value(outcome)
        for key in ("labels", "probabilities", "decisions", "groups"):
            if not np.array_equal(getattr(before, key), getattr(outcome, key)):
                return f"It changed `outcome.{key}`."
    return None


@rule(
    "It is computed for data sets of more classes, as a whole (`overall`) or each against the rest (`per_class`).",
    "Handle K classes, or set overall=False.",
    needs=[gives_a_float],
)
def classes_beyond_two(subject: MetricSubject) -> str | None:
    """With three classes it gives a finite float under each of its keys."""
    outcome = _guessed(3)
    for key, number in subject.value.keys(outcome.classes).items():
        value = subject.value.value(outcome if number is None else outcome.one_against_rest(number))
        if not isinstance(value, float) or not math.isfinite(value):
            return f"'{key}' of three classes is {value!r}."
    return None


@rule(
    "The interval comes from `resampled`, the score from `value`; they must speak of one thing.",
    "Make them agree, or leave `resampled` out: `value` is then called for each draw.",
    needs=[gives_a_float],
)
def resampled_agrees(subject: MetricSubject) -> str | None:
    """`resampled` gives for each bootstrap draw what `value` gives for the drawn samples."""
    metric = subject.value
    if metric.resampled is None:
        return None
    for outcome in _outcomes(metric):
        for chunk in draw(outcome, _DRAWS, 0):
            fast = metric.resampled(chunk)
            rows = [np.repeat(np.arange(len(outcome)), weights.astype(int)) for weights in chunk.weights]
            slow = np.array([metric.value(outcome.take(row)) for row in rows])
            if fast.shape != slow.shape:
                return f"`resampled` gives the shape {fast.shape} for {len(chunk)} draws."
            if not np.allclose(fast, slow, rtol=1e-7, atol=1e-9, equal_nan=True):
                at = int(np.argmax(~np.isclose(fast, slow, rtol=1e-7, atol=1e-9, equal_nan=True)))
                return f"Of a draw with the score {slow[at]:g} `resampled` says {fast[at]:g}."
    return None


RULES: list[Rule[Metric]] = [
    has_name_and_summary, gives_a_float, direction_is_right, single_class_input, agrees_over_permutations,
    leaves_its_input_alone, classes_beyond_two, resampled_agrees,
]  # fmt: skip


def _sure(correct: bool) -> Outcome:
    """30 of each class, all called rightly or all wrongly, with probability 0.98."""
    labels = np.arange(_N) % 2
    called = labels if correct else 1 - labels
    positive = np.where(called == 1, 0.98, 0.02)
    return _outcome(labels, np.stack([1 - positive, positive], axis=1))


def _guessed(classes: int) -> Outcome:
    """A fair model: better than chance, in tenths, so that many tie, three samples a group."""
    rng = np.random.default_rng(classes)
    labels = np.arange(_N) % classes
    logits = rng.normal(size=(_N, classes)) + 1.2 * np.eye(classes)[labels]
    tenths = np.floor(9 * np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    tenths[:, -1] = 10 - tenths[:, :-1].sum(axis=1)
    return _outcome(labels, tenths / 10)


def _outcome(labels: npt.NDArray[np.intp], probabilities: npt.NDArray[np.float64]) -> Outcome:
    names = ("benign", "malignant", "normal")[: probabilities.shape[1]]
    return Outcome(names, labels.astype(np.intp), probabilities, decide(probabilities, 0.5), np.arange(_N) // 3)


def _outcomes(metric: Metric) -> list[Outcome]:
    return [_guessed(2), _guessed(3)] if metric.overall else [_guessed(2)]
