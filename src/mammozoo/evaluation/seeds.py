"""A score over several seeds: the mean, its interval by one bootstrap over groups, and the seeds' own values.

Runs of one recipe with other seeds test overlapping sets of images by other models. So neither their predictions are pooled
nor are they taken as independent. Groups are drawn once from all that any seed has tested; the drawn groups are given to
every seed, which uses those that it tested; the statistic is the mean of the seeds' scores:

    θ = 1/S · Σ_s score(predictions of seed s)

The interval holds for these S trained models and other patients. How much training and splitting themselves move the
score is what the range over seeds shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.evaluation.intervals import DRAWS, bca, smallest_class, values_of
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.resampling import Resamples, Source, Values, draw, leave_out


@dataclass(frozen=True)
class SeedScore:
    """The mean of a score over seeds, its 95 % interval, and the value of each seed; NaN where undefined."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]


def align(tests: Sequence[Predictions]) -> list[Outcome]:
    """The outcomes of several runs with their groups numbered alike.

    Group numbers of two runs mean the same only if their data were read alike. Images stand in one group here if
    they do so in any of the runs.
    """
    samples, sample = np.unique(np.concatenate([test.samples for test in tests]), return_inverse=True)
    run = np.repeat(np.arange(len(tests)), [len(test) for test in tests])
    own = np.stack([run, np.concatenate([test.outcome.groups for test in tests])])
    group = np.unique(own, axis=1, return_inverse=True)[1].reshape(-1)
    size = len(samples) + int(group.max()) + 1
    edges = coo_array((np.ones(len(run)), (sample, len(samples) + group)), shape=(size, size))
    component = connected_components(edges, directed=False)[1][sample].astype(np.intp)
    return [dataclasses.replace(test.outcome, groups=component[run == i]) for i, test in enumerate(tests)]


def mean_score(metric: Metric, number: int | None, outcomes: Sequence[Outcome], *, seed: int = 0) -> SeedScore:
    """The mean over seeds of one score. `outcomes` have groups numbered alike; `number` is the class held against the rest."""
    views = _views(outcomes, number)
    values = tuple(metric.value(view) for view in views)
    weights = np.full(len(views), 1 / len(views))
    return SeedScore(float(np.mean(values)), *_interval(metric, views, weights, seed), values)


def mean_difference(
    metric: Metric, number: int | None, a: Sequence[Outcome], b: Sequence[Outcome], *, seed: int = 0
) -> SeedScore:
    """The mean of `a` minus that of `b`, on the same draws of groups; the seeds' values are differences in turn."""
    first, second = _views(a, number), _views(b, number)
    of_a, of_b = [metric.value(view) for view in first], [metric.value(view) for view in second]
    weights = np.concatenate([np.full(len(first), 1 / len(first)), np.full(len(second), -1 / len(second))])
    bounds = _interval(metric, [*first, *second], weights, seed)
    pairs = tuple(x - y for x, y in zip(of_a, of_b, strict=False))
    return SeedScore(float(np.mean(of_a) - np.mean(of_b)), *bounds, pairs)


def _views(outcomes: Sequence[Outcome], number: int | None) -> list[Outcome]:
    return list(outcomes) if number is None else [outcome.one_against_rest(number) for outcome in outcomes]


def _interval(
    metric: Metric, outcomes: Sequence[Outcome], weights: npt.NDArray[np.float64], seed: int
) -> tuple[float, float]:
    """The bounds of the weighted sum of the outcomes' scores."""
    union = Outcome(
        outcomes[0].classes,
        *(
            np.concatenate([getattr(outcome, name) for outcome in outcomes])
            for name in ("labels", "probabilities", "decisions", "groups")
        ),
    )
    sources = [Source(outcome) for outcome in outcomes]
    tested = np.unique(union.groups)
    places = [np.searchsorted(tested, np.unique(outcome.groups)) for outcome in outcomes]

    def combined(chunk: Resamples) -> Values:
        with np.errstate(invalid="ignore"):  # a draw may miss all that one seed has tested; it does not count then
            each = [
                values_of(metric, Resamples(source, np.ascontiguousarray(chunk.times[:, place])))
                for source, place in zip(sources, places, strict=True)
            ]
        return weights @ np.stack(each)

    value = float(weights @ np.array([metric.value(outcome) for outcome in outcomes]))
    draws = np.concatenate([combined(chunk) for chunk in draw(union, DRAWS, seed)])
    without = np.concatenate([combined(chunk) for chunk in leave_out(union, seed)])
    return bca(draws, value, without, smallest_class(union))
