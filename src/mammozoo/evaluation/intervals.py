"""Confidence intervals by a bootstrap over groups: the percentile method (Efron & Tibshirani 1993, ch. 13).

Whole groups are drawn with replacement, because images of one patient, or copies of one image, are not
independent evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome

DRAWS = 2000
LEVEL = 0.95
_CELLS = 4_000_000  # weights held at once: 32 MB


def interval(
    metric: Metric, outcome: Outcome, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The (low, high) bounds of `metric` on `outcome`; NaN where the score is undefined in most draws."""
    values = resample(metric, outcome, draws, seed)
    values = values[np.isfinite(values)]
    if len(values) < draws / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample(metric: Metric, outcome: Outcome, draws: int, seed: int) -> npt.NDArray[np.float64]:
    """(draws,) values of `metric`, one for each draw of groups; the same groups for outcomes that have the same."""
    return np.concatenate([_values(metric, outcome, weights) for weights in _draw(outcome, draws, seed)])


def _draw(outcome: Outcome, draws: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """(b, N) weights in chunks that add up to `draws` rows: how often each sample's group was drawn."""
    rng = np.random.default_rng(seed)
    _, group = np.unique(outcome.groups, return_inverse=True)
    count = int(group.max()) + 1
    chunk = max(1, _CELLS // len(outcome))
    for start in range(0, draws, chunk):
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(chunk, draws - start))
        yield times[:, group].astype(np.float64)


def _values(metric: Metric, outcome: Outcome, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if metric.resampled is not None:
        return metric.resampled(outcome, weights)
    values = []
    for row in weights:
        index = np.repeat(np.arange(len(outcome)), row.astype(int))
        values.append(
            metric.value(
                Outcome(
                    outcome.classes,
                    outcome.labels[index],
                    outcome.probabilities[index],
                    outcome.decisions[index],
                    outcome.groups[index],
                )
            )
        )
    return np.array(values)
