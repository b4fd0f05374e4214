"""Each check of metrics and of transforms, tried on one that breaks just that."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mammozoo import LossSpec, Metric, Outcome, TransformSpec


def accuracy(outcome: Outcome) -> float:
    return float((outcome.labels == outcome.decisions).mean())


def one_class(outcome: Outcome) -> bool:
    return len(set(outcome.labels.tolist())) < 2


def fails_on_one_class(outcome: Outcome) -> float:
    if one_class(outcome):
        raise ZeroDivisionError("no second class")
    return accuracy(outcome)


def first_half(outcome: Outcome) -> float:
    right = outcome.labels == outcome.decisions
    return float(np.average(right, weights=np.arange(len(right)) + 1))


def sorts_in_place(outcome: Outcome) -> float:
    score = accuracy(outcome)
    outcome.probabilities.sort(axis=1)
    return score


def perfect_is_infinite(outcome: Outcome) -> float:
    return accuracy(outcome) / (1 - accuracy(outcome)) if accuracy(outcome) < 1 else float("nan")


def score(value: Callable[[Outcome], Any], **more: Any) -> Metric:
    return Metric("s", "s", value, **more)


BROKEN: dict[str, list[Any]] = {}
BROKEN["metrics"] = [
    ("has-name-and-summary", "'a share'", Metric("a share", "right decisions", accuracy)),
    ("direction-is-right", "perfect .* 1 .* worst 0", score(accuracy, higher_is_better=False)),
    ("direction-is-right", "perfect", score(perfect_is_infinite)),
    ("gives-a-float", "'0.", score(lambda outcome: f"{accuracy(outcome):.2f}")),
    ("gives-a-float", "KeyError .*broken_scores_and_transforms.py, line", score(lambda outcome: {}["age"])),
    ("single-class-input", "in fails_on_one_class.: no second class", score(fails_on_one_class)),
    ("single-class-input", "class 0 .* inf", score(lambda o: float("inf") if one_class(o) else accuracy(o))),
    ("agrees-over-permutations", "order", score(first_half)),
    ("leaves-its-input-alone", "`outcome.probabilities`", score(sorts_in_place)),
    ("classes-beyond-two", "'s' .* nan", score(lambda o: accuracy(o) if o.binary else float("nan"))),
    ("resampled-agrees", "0.5", score(accuracy, resampled=lambda draws: np.full(len(draws), 0.5))),
    ("resampled-agrees", r"\(21,\) for 20", score(accuracy, resampled=lambda draws: np.zeros(len(draws) + 1))),
]


def mirror() -> Callable[..., Any]:
    return lambda pixels, rng: pixels[:, ::-1]


def untyped(k=1) -> Callable[..., Any]:  # type: ignore[no-untyped-def]
    return mirror()


def drawn() -> Callable[..., Any]:
    return lambda pixels, rng: rng.permutation(pixels, axis=1)


def unseeded() -> Callable[..., Any]:
    own = np.random.default_rng()
    return lambda pixels, rng: own.permutation(pixels, axis=1)


def blacken(pixels: Any, rng: Any) -> Any:
    before = pixels.copy()
    pixels[:] = 0
    return before


def transform(build: Callable[..., Any], **more: Any) -> TransformSpec:
    return TransformSpec("m", "mirror", build, **more)


BROKEN["transforms"] = [
    ("has-name-and-summary", "'a mirror'", TransformSpec("a mirror", "mirror", mirror)),
    ("options-have-types", "'k'", transform(untyped)),
    ("same-generator-same-result", "one seed", transform(unseeded, random=True)),
    ("fixed-unless-random", "generator", transform(drawn)),
    ("form-is-kept", "float64", transform(lambda: lambda pixels, rng: pixels / 255)),
    ("form-is-kept", r"\(40, 48, 1\) becomes \(40, 48\)", transform(lambda: lambda pixels, rng: pixels[:, :, 0])),
    ("leaves-its-input-alone", "image", transform(lambda: blacken)),
]


def loss(function: Callable[..., Any], **more: Any) -> LossSpec:
    return LossSpec("hinge", "distance from the right side of 1", lambda: function, **more)


def hinge(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if logits.shape[1] > 1:
        return torch.nn.functional.multi_margin_loss(logits, labels, reduction="none")
    return (1 - logits[:, 0] * (2 * labels - 1)).clamp_min(0)


BROKEN["losses"] = [
    ("has-name-and-summary", "'a hinge'", LossSpec("a hinge", "distance", lambda: hinge)),
    ("one-loss-each", r"gives \(\)", loss(lambda *given: hinge(*given).mean())),
    ("falls-towards-the-truth", "class 0", loss(lambda *given: -hinge(*given))),
]
SOUND = {
    "losses": [loss(hinge)],
    "metrics": [Metric("share", "share of right decisions", accuracy)],
    "transforms": [transform(mirror), transform(drawn, random=True)],
}
