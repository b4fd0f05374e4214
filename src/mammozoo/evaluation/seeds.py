"""A score over several seeds: the mean, its interval by one bootstrap over groups, and the range of the seeds.

Runs of one recipe with other seeds test overlapping sets of images with other models. So their predictions are not pooled
and not taken as independent. Groups are drawn once from all that any seed has tested, and every seed uses the drawn
groups that it has tested. The statistic is the mean of the seeds' scores:

    θ = 1/S · Σ_s score(predictions of seed s)

The interval holds for these S trained models and other patients. The range over seeds shows how much training and
splitting move the score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.evaluation.intervals import DRAWS, Interval, bca, smallest_class, values_of
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.resampling import Resamples, Source, Values, draw, leave_out
from mammozoo.evaluation.scores import finite


class SeedScore(NamedTuple):
    """The mean of a score over seeds, its 95 % interval, and the range of the seeds; None if undefined."""

    value: float | None
    low: float | None
    high: float | None
    least: float | None
    most: float | None


def align(tests: Sequence[Predictions]) -> list[Outcome]:
    """The outcomes of several runs with their groups numbered alike.

    Group numbers of two runs mean the same only if their data were read alike. Images stand in one group here if
    they do so in any of the runs.
    """
    samples, sample = np.unique(np.concatenate([test.samples for test in tests]), return_inverse=True)
    run = np.repeat(np.arange(len(tests)), [len(test) for test in tests])
    run_and_group = np.stack([run, np.concatenate([test.outcome.groups for test in tests])])
    group = np.unique(run_and_group, axis=1, return_inverse=True)[1].reshape(-1)
    size = len(samples) + int(group.max()) + 1
    edges = coo_array((np.ones(len(run)), (sample, len(samples) + group)), shape=(size, size))
    component = connected_components(edges, directed=False)[1][sample].astype(np.intp)
    return [dataclasses.replace(test.outcome, groups=component[run == i]) for i, test in enumerate(tests)]


def mean_score(metric: Metric, number: int | None, outcomes: Sequence[Outcome], *, seed: int = 0) -> SeedScore:
    """The mean over seeds of one score; `number` is the class to score against the rest, None for all classes.

    The groups of the outcomes are numbered alike, see `align`.
    """
    views = _views(outcomes, number)
    values = [metric.value(view) for view in views]
    low, high = _interval(metric, views, np.full(len(views), 1 / len(views)), seed)
    return _seed_score(float(np.mean(values)), low, high, values)


def mean_difference(
    metric: Metric, number: int | None, a: Sequence[Outcome], b: Sequence[Outcome], *, seed: int = 0
) -> SeedScore:
    """The mean of `a` minus that of `b`, on the same draws of groups; the range is that of each seed's difference."""
    first, second = _views(a, number), _views(b, number)
    of_a, of_b = [metric.value(view) for view in first], [metric.value(view) for view in second]
    weights = np.concatenate([np.full(len(first), 1 / len(first)), np.full(len(second), -1 / len(second))])
    low, high = _interval(metric, [*first, *second], weights, seed)
    each = [x - y for x, y in zip(of_a, of_b, strict=False)]
    return _seed_score(float(np.mean(of_a) - np.mean(of_b)), low, high, each)


def _seed_score(value: float, low: float, high: float, each: Sequence[float]) -> SeedScore:
    return SeedScore(*map(finite, (value, low, high, min(each), max(each))))


def _views(outcomes: Sequence[Outcome], number: int | None) -> list[Outcome]:
    return list(outcomes) if number is None else [outcome.one_against_rest(number) for outcome in outcomes]


def _interval(metric: Metric, outcomes: Sequence[Outcome], weights: npt.NDArray[np.float64], seed: int) -> Interval:
    """The bounds of the weighted sum of the outcomes' scores."""
    columns = ("labels", "probabilities", "decisions", "groups")
    joined = {name: np.concatenate([getattr(outcome, name) for outcome in outcomes]) for name in columns}
    union = Outcome(outcomes[0].classes, **joined)
    sources = [Source(outcome) for outcome in outcomes]
    tested = np.unique(union.groups)
    places = [np.searchsorted(tested, np.unique(outcome.groups)) for outcome in outcomes]

    def combined(chunk: Resamples) -> Values:
        with np.errstate(invalid="ignore"):  # a draw without any image of one seed does not count
            each = [
                values_of(metric, Resamples(source, np.ascontiguousarray(chunk.times[:, place])))
                for source, place in zip(sources, places, strict=True)
            ]
        return weights @ np.stack(each)

    value = float(weights @ np.array([metric.value(outcome) for outcome in outcomes]))
    draws = np.concatenate([combined(chunk) for chunk in draw(union, DRAWS, seed)])
    without = np.concatenate([combined(chunk) for chunk in leave_out(union, seed)])
    return bca(draws, value, without, smallest_class(union))
