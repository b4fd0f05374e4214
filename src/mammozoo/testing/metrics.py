"""What a metric promises: one direction, a number or NaN for every outcome, and no dependence on the order of samples."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.resampling import draw
from mammozoo.testing.check import needs, rule
from mammozoo.testing.common import Named

_N = 60
_DRAWS = 20


class MetricRules(Named[Metric]):
    """Tried on outcomes of two and of three classes with 60 samples."""

    @rule("It is computed in every run, and anything but a number ends the evaluation. Return `float(...)`.")
    def gives_a_float(self) -> None:
        """Of a fair model of two classes it gives a finite float."""
        value = self.value.value(_fair(2))
        assert isinstance(value, float) and math.isfinite(value), f"It gives {value!r}."

    @needs(gives_a_float)
    @rule("Epochs are chosen and models compared by it. Set `higher_is_better` to its direction.")
    def direction_is_right(self) -> None:
        """A model that is always right and sure scores better than one that is always wrong and sure."""
        right, wrong = (self.value.value(_sure(correct)) for correct in (True, False))
        assert not math.isnan(right), "It is undefined for a perfect model."
        better, as_said = ("Higher", right > wrong) if self.value.higher_is_better else ("Lower", right < wrong)
        found = f"a perfect model has {right:g} and the worst {wrong:g}"
        assert math.isnan(wrong) or as_said, f"{better} is said to be better, but {found}."

    @needs(gives_a_float)
    @rule("A small fold or one site may hold one class. Return NaN where the score is undefined.")
    def single_class_input(self) -> None:
        """With samples of one class alone it gives a number or NaN, and raises nothing."""
        outcome = _fair(2)
        for label in (0, 1):
            value = self.value.value(outcome.take(np.flatnonzero(outcome.labels == label)))
            defined = isinstance(value, float) and not math.isinf(value)
            assert defined, f"With class {label} alone it gives {value!r}, neither a finite float nor NaN."

    @needs(gives_a_float)
    @rule("Samples come in no order that means anything. Use no neighbour, index or position; break ties evenly.")
    def agrees_over_permutations(self) -> None:
        """The same samples in another order have the same score, also where probabilities tie."""
        for outcome in self._outcomes():
            order = np.random.default_rng(1).permutation(len(outcome))
            one, two = self.value.value(outcome), self.value.value(outcome.take(order))
            same = np.isclose(one, two, rtol=1e-9, atol=1e-12, equal_nan=True)
            assert same, f"The same samples score {one:g} in one order and {two:g} in another."

    @needs(gives_a_float)
    @rule("All metrics share one outcome, and would see the change. Copy before you sort or change.")
    def leaves_its_input_alone(self) -> None:
        """Labels, probabilities and decisions are as before."""
        for outcome in self._outcomes():
            before = outcome.take(np.arange(len(outcome)))
            self.value.value(outcome)
            for key in ("labels", "probabilities", "decisions", "groups"):
                assert np.array_equal(getattr(before, key), getattr(outcome, key)), f"It changed `outcome.{key}`."

    @needs(gives_a_float)
    @rule("It is computed as a whole or of each class against the rest. Handle K classes, or set overall=False.")
    def classes_beyond_two(self) -> None:
        """With three classes it gives a finite float under each of its keys."""
        outcome = _fair(3)
        for key, number in self.value.keys(outcome.classes).items():
            value = self.value.value(outcome if number is None else outcome.one_against_rest(number))
            assert isinstance(value, float) and math.isfinite(value), f"'{key}' of three classes is {value!r}."

    @needs(gives_a_float)
    @rule("The interval comes from `resampled`, the score from `value`. Make them agree, or leave `resampled` out.")
    def resampled_agrees(self) -> None:
        """`resampled` gives for each bootstrap draw what `value` gives for the drawn samples."""
        if self.value.resampled is None:
            return
        for outcome in self._outcomes():
            for chunk in draw(outcome, _DRAWS, 0):
                fast = self.value.resampled(chunk)
                rows = [np.repeat(np.arange(len(outcome)), weights.astype(int)) for weights in chunk.weights]
                slow = np.array([self.value.value(outcome.take(row)) for row in rows])
                assert fast.shape == slow.shape, f"`resampled` gives the shape {fast.shape} for {len(chunk)} draws."
                equal = np.isclose(fast, slow, rtol=1e-7, atol=1e-9, equal_nan=True)
                at = int(np.argmin(equal))
                assert equal.all(), f"Of a draw with the score {slow[at]:g} `resampled` says {fast[at]:g}."

    def _outcomes(self) -> list[Outcome]:
        return [_fair(2), _fair(3)] if self.value.overall else [_fair(2)]


def _sure(correct: bool) -> Outcome:
    """30 samples of each class, all decided rightly or all wrongly, with probability 0.98."""
    labels = np.arange(_N) % 2
    positive = np.where((labels == 1) == correct, 0.98, 0.02)
    return _outcome(labels, np.stack([1 - positive, positive], axis=1))


def _fair(classes: int) -> Outcome:
    """A model better than chance; its probabilities are tenths, so that many tie, three samples a group."""
    rng = np.random.default_rng(classes)
    labels = np.arange(_N) % classes
    logits = rng.normal(size=(_N, classes)) + 1.2 * np.eye(classes)[labels]
    tenths = np.floor(9 * np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    tenths[:, -1] = 10 - tenths[:, :-1].sum(axis=1)
    return _outcome(labels, tenths / 10)


def _outcome(labels: npt.NDArray[np.intp], probabilities: npt.NDArray[np.float64]) -> Outcome:
    names = ("benign", "malignant", "normal")[: probabilities.shape[1]]
    return Outcome(names, labels.astype(np.intp), probabilities, decide(probabilities, 0.5), np.arange(_N) // 3)
