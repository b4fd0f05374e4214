"""Every metric of an outcome, each with its interval and n."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from mammozoo.evaluation.forgiving import forgiving
from mammozoo.evaluation.intervals import Interval, interval_all
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
    """Name → score for every registered metric; those of single classes are named `metric[class]`.

    All intervals are on the same draws of groups. A score of another's plugin that raises is undefined, and a warning says why.
    """
    items = registry().items("metrics").values()
    metrics = [item.value if item.plugin.builtin else forgiving(item.value, item.plugin) for item in items]
    return {
        key: score(value, interval, len(outcome))
        for key, (value, interval) in interval_all(metrics, outcome, seed=seed).items()
    }


def as_json(scores: dict[str, Score]) -> dict[str, dict[str, float | int | None]]:
    """Scores as `scores.json` and `--json` hold them."""
    return {name: dataclasses.asdict(score) for name, score in scores.items()}


def score(value: float, interval: Interval, n: int) -> Score:
    """A score of numbers that may be NaN or infinite."""
    low, high = interval
    return Score(_finite(value), _finite(low), _finite(high), n)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
