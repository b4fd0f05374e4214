"""Each check of metrics and of transforms, tried on one that breaks just that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mammozoo import Metric, TransformSpec
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values


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


METRICS = [
    ("has-name-and-summary", "'a share'", Metric("a share", "right decisions", accuracy)),
    ("direction-is-right", "perfect .* 1 .* worst 0", Metric("s", "s", accuracy, higher_is_better=False)),
    ("direction-is-right", "perfect", Metric("s", "s", perfect_is_infinite)),
    ("gives-a-float", "'0.", Metric("s", "s", as_text)),
    ("gives-a-float", "KeyError .*test_broken_scores_and_transforms.py, line", Metric("s", "s", crashes)),
    ("single-class-input", "in fails_on_one_class.: no second class", Metric("s", "s", fails_on_one_class)),
    ("single-class-input", "class 0 .* inf", Metric("s", "s", infinite_for_one_class)),
    ("agrees-over-permutations", "order", Metric("s", "s", first_half)),
    ("leaves-its-input-alone", "`outcome.probabilities`", Metric("s", "s", sorts_in_place)),
    ("classes-beyond-two", "'s' .* nan", Metric("s", "s", of_two_only)),
    ("resampled-agrees", "0.5", Metric("s", "s", accuracy, resampled=always_half)),
    ("resampled-agrees", r"\(21,\) for 20", Metric("s", "s", accuracy, resampled=one_too_many)),
]


def test_a_sound_metric_passes_all(passes: Any) -> None:
    passes(Metric("share", "share of right decisions", accuracy))


@pytest.mark.parametrize(("rule", "words", "metric"), METRICS)
def test_a_broken_metric_fails_just_that(breaks: Any, rule: str, words: str, metric: Metric) -> None:
    breaks(rule, words, metric)


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


def _flat() -> Callable[..., Any]:
    return lambda pixels, rng: pixels[:, :, 0]


def _in_place() -> Callable[..., Any]:
    def change(pixels: Any, rng: Any) -> Any:
        before = pixels.copy()
        pixels[:] = 0
        return before

    return change


TRANSFORMS = [
    ("has-name-and-summary", "'a mirror'", TransformSpec("a mirror", "mirror", mirror)),
    ("options-have-types", "'k'", TransformSpec("m", "mirror", untyped)),
    ("same-generator-same-result", "one seed", TransformSpec("m", "mirror", _unseeded, random=True)),
    ("fixed-unless-random", "generator", TransformSpec("m", "mirror", _drawn)),
    ("form-is-kept", "float64", TransformSpec("m", "mirror", _floats)),
    ("form-is-kept", r"\(40, 48, 1\) becomes \(40, 48\)", TransformSpec("m", "mirror", _flat)),
    ("leaves-its-input-alone", "image", TransformSpec("m", "mirror", _in_place)),
]


@pytest.mark.parametrize(("build", "random"), [(mirror, False), (_drawn, True)])
def test_a_sound_transform_passes_all(passes: Any, build: Callable[..., Any], random: bool) -> None:
    passes(TransformSpec("sound", "left and right", build, random=random))


@pytest.mark.parametrize(("rule", "words", "transform"), TRANSFORMS)
def test_a_broken_transform_fails_just_that(breaks: Any, rule: str, words: str, transform: TransformSpec) -> None:
    breaks(rule, words, transform)
