"""Every metric of an outcome, each with its interval and n."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from mammozoo.evaluation.intervals import interval
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.plugins import registry


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval and the number of samples behind it; NaN is written as null."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        bounds = "no interval" if self.low is None else f"{self.low:.3f}–{self.high:.3f}"
        return f"{self.value:.3f} ({bounds})"


def score_all(outcome: Outcome, *, seed: int = 0) -> dict[str, Score]:
    """Name → score for every registered metric; those of single classes are named `metric[class]`."""
    scores = {}
    for item in registry().items("metrics").values():
        for name, metric, view in _views(item.value, outcome):
            low, high = interval(metric, view, seed=seed)
            scores[name] = Score(_finite(metric.value(view)), _finite(low), _finite(high), len(outcome))
    return scores


def as_json(scores: dict[str, Score]) -> dict[str, dict[str, float | int | None]]:
    """Scores as `scores.json` and `--json` hold them."""
    return {name: dataclasses.asdict(score) for name, score in scores.items()}


def _views(metric: Metric, outcome: Outcome) -> Iterator[tuple[str, Metric, Outcome]]:
    if metric.overall or outcome.binary:
        yield metric.name, metric, outcome
    if metric.per_class and not outcome.binary:
        for number, label in enumerate(outcome.classes):
            yield f"{metric.name}[{label}]", metric, outcome.one_against_rest(number)


def _finite(value: float) -> float | None:
    return float(value) if value == value else None
