"""Confidence intervals by a bootstrap over groups: the percentile method (Efron & Tibshirani 1993, ch. 13).

Whole groups are drawn with replacement, because images of one patient, or copies of one image, are not
independent evidence. One set of draws serves all metrics.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values, draw

DRAWS = 2000
LEVEL = 0.95


def interval(
    metric: Metric, outcome: Outcome, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The (low, high) bounds of `metric` on `outcome`; NaN where the score is undefined in most draws."""
    return bounds(resample(metric, outcome, draws, seed), level)


def resample(metric: Metric, outcome: Outcome, draws: int, seed: int) -> Values:
    """(draws,) values of `metric`, one for each draw of groups; the same groups for outcomes that have the same."""
    return np.concatenate([_values(metric, chunk) for chunk in draw(outcome, draws, seed)])


def resample_all(metrics: Iterable[Metric], outcome: Outcome, draws: int, seed: int) -> dict[str, Values]:
    """(draws,) values of each metric on the same draws, by `Metric.keys`: also of single classes, `metric[class]`."""
    keys = [(key, metric, number) for metric in metrics for key, number in metric.keys(outcome.classes).items()]
    parts: dict[str, list[Values]] = {key: [] for key, _, _ in keys}
    for chunk in draw(outcome, draws, seed):
        for key, metric, number in keys:
            parts[key].append(_values(metric, chunk if number is None else chunk.each_against_rest[number]))
    return {key: np.concatenate(part) for key, part in parts.items()}


def bounds(values: Values, level: float = LEVEL) -> tuple[float, float]:
    """The (low, high) percentiles of a score's draws that hold `level` of them; NaN where most are undefined."""
    finite = values[np.isfinite(values)]
    if len(finite) < len(values) / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _values(metric: Metric, chunk: Resamples) -> Values:
    if metric.resampled is not None:
        return metric.resampled(chunk)
    samples = np.arange(len(chunk.outcome))
    drawn = (np.repeat(samples, row[chunk.source.index]) for row in chunk.times)
    return np.array([metric.value(chunk.outcome.take(index)) for index in drawn])
