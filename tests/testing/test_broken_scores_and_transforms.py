"""Each check of metrics and of transforms, tried on one that breaks just that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mammozoo import Metric, TransformSpec
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values

Failures = Callable[..., dict[str, str]]
States = Callable[..., set[str]]


def accuracy(outcome: Outcome) -> float:
    return float((outcome.labels == outcome.decisions).mean())


def fails_on_one_class(outcome: Outcome) -> float:
    if len(set(outcome.labels.tolist())) < 2:
        raise ZeroDivisionError("no second class")
    return accuracy(outcome)


def first_half(outcome: Outcome) -> float:
    right = outcome.labels == outcome.decisions
    return float(np.average(right, weights=np.arange(len(right)) + 1))


def sorts_in_place(outcome: Outcome) -> float:
    score = accuracy(outcome)
    outcome.probabilities.sort(axis=1)
    return score


def of_two_only(outcome: Outcome) -> float:
    return accuracy(outcome) if outcome.binary else float("nan")


def as_text(outcome: Outcome) -> Any:
    return f"{accuracy(outcome):.2f}"


def crashes(outcome: Outcome) -> float:
    raise KeyError("age")


def perfect_is_infinite(outcome: Outcome) -> float:
    return accuracy(outcome) / (1 - accuracy(outcome)) if accuracy(outcome) < 1 else float("nan")


def infinite_for_one_class(outcome: Outcome) -> float:
    return accuracy(outcome) if len(set(outcome.labels.tolist())) > 1 else float("inf")


def one_too_many(draws: Resamples) -> Values:
    return np.zeros(len(draws) + 1)


def always_half(draws: Resamples) -> Values:
    return np.full(len(draws), 0.5)


SOUND = Metric("share", "share of right decisions", accuracy)
METRICS: dict[str, tuple[Metric, str]] = {
    "has-name-and-summary": (Metric("a share", "right decisions", accuracy), "'a share' cannot be written"),
    "direction-is-right": (Metric("s", "s", accuracy, higher_is_better=False), "a perfect model has 1 and the worst 0"),
    "gives-a-float": (Metric("s", "s", as_text), "It gives '0."),
    "single-class-input": (Metric("s", "s", fails_on_one_class), "in fails_on_one_class): no second class"),
    "agrees-over-permutations": (Metric("s", "s", first_half), "in one order"),
    "leaves-its-input-alone": (Metric("s", "s", sorts_in_place), "changed `outcome.probabilities`"),
    "classes-beyond-two": (Metric("s", "s", of_two_only), "'s' of three classes is nan"),
    "resampled-agrees": (Metric("s", "s", accuracy, resampled=always_half), "`resampled` says 0.5"),
}


def test_a_sound_metric_passes_all(states: States) -> None:
    assert states(SOUND) == {"passed"}


@pytest.mark.parametrize("rule", METRICS)
def test_a_broken_metric_fails_just_that(failures: Failures, rule: str) -> None:
    metric, words = METRICS[rule]
    found = failures(metric)
    assert set(found) == {rule}
    assert words in found[rule]


@pytest.mark.parametrize(
    ("metric", "rule", "words"),
    [
        (crashes, "gives-a-float", "KeyError was raised (test_broken_scores_and_transforms.py, line"),
        (infinite_for_one_class, "single-class-input", "With class 0 alone it gives inf"),
        (perfect_is_infinite, "direction-is-right", "undefined for a perfect model"),
    ],
)
def test_other_ways_to_break_them(failures: Failures, metric: Callable[..., float], rule: str, words: str) -> None:
    found = failures(Metric("s", "s", metric))
    assert set(found) == {rule}
    assert words in found[rule]


def mirror() -> Callable[..., Any]:
    return lambda pixels, rng: pixels[:, ::-1]


def untyped(k=1) -> Callable[..., Any]:  # type: ignore[no-untyped-def]
    return mirror()


def _unseeded() -> Callable[..., Any]:
    own = np.random.default_rng()
    return lambda pixels, rng: own.permutation(pixels, axis=1)


def _drawn() -> Callable[..., Any]:
    return lambda pixels, rng: rng.permutation(pixels, axis=1)


def _floats() -> Callable[..., Any]:
    return lambda pixels, rng: pixels / 255


def _in_place() -> Callable[..., Any]:
    def change(pixels: Any, rng: Any) -> Any:
        before = pixels.copy()
        pixels[:] = 0
        return before

    return change


TRANSFORMS: dict[str, tuple[TransformSpec, str]] = {
    "has-name-and-summary": (TransformSpec("a mirror", "mirror", mirror), "'a mirror' cannot be written"),
    "options-have-types": (TransformSpec("m", "mirror", untyped), "'k' has no type"),
    "same-generator-same-result": (TransformSpec("m", "mirror", _unseeded, random=True), "two results from one seed"),
    "fixed-unless-random": (TransformSpec("m", "mirror", _drawn), "depends on the generator"),
    "form-is-kept": (TransformSpec("m", "mirror", _floats), "uint8 becomes float64"),
    "leaves-its-input-alone": (TransformSpec("m", "mirror", _in_place), "changes the image"),
}


@pytest.mark.parametrize(("build", "random"), [(mirror, False), (_drawn, True)])
def test_a_sound_transform_passes_all(states: States, build: Callable[..., Any], random: bool) -> None:
    assert states(TransformSpec("sound", "left and right", build, random=random)) == {"passed"}


@pytest.mark.parametrize("rule", TRANSFORMS)
def test_a_broken_transform_fails_just_that(failures: Failures, rule: str) -> None:
    transform, words = TRANSFORMS[rule]
    found = failures(transform)
    assert set(found) == {rule}
    assert words in found[rule]


def test_shapes_that_nobody_expects(failures: Failures) -> None:
    found = failures(Metric("s", "s", accuracy, resampled=one_too_many))
    assert set(found) == {"resampled-agrees"} and "gives the shape (21,) for 20 draws" in found["resampled-agrees"]
    found = failures(TransformSpec("m", "mirror", lambda: lambda pixels, rng: pixels[:, :, 0]))
    assert set(found) == {"form-is-kept"} and "(40, 48, 1) becomes (40, 48)" in found["form-is-kept"]
