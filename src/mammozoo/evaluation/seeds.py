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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.evaluation.intervals import DRAWS, Interval, bca, of_difference, smallest_class, unanimous, values_of
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


def mean_score(
    metric: Metric, number: int | None, outcomes: Sequence[Outcome], *, minus: Sequence[Outcome] = (), seed: int = 0
) -> SeedScore:
    """The mean over seeds of one score; `number` is the class to score against the rest, None for all classes.

    With `minus`, outcomes of the same seeds, the difference of the means on the same draws of groups; the range is that of
    each seed's difference. The groups of the outcomes are numbered alike, see `align`.
    """
    every = [*outcomes, *minus]
    views = every if number is None else [outcome.one_against_rest(number) for outcome in every]
    values = np.array([metric.value(view) for view in views])
    n = len(outcomes)
    weights = np.full(len(views), 1 / n)
    weights[n:] *= -1
    interval = _interval(metric, views, weights, float(weights @ values), seed)
    each = values[:n] - values[n:] if minus else values
    mean = values[:n].mean() - (values[n:].mean() if minus else 0)
    return SeedScore(*map(finite, (mean, *interval, min(each), max(each))))


def _interval(metric: Metric, outcomes: Sequence[Outcome], weights: Values, value: float, seed: int) -> Interval:
    """The bounds of `value`, the weighted sum of the outcomes' scores."""
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

    draws = np.concatenate([combined(chunk) for chunk in draw(union, DRAWS, seed)])
    if weights.min() < 0:
        return of_difference(draws, value, smallest_class(union))[:2]
    without = np.concatenate([combined(chunk) for chunk in leave_out(union, seed)])
    bounds = bca(draws, value, without, smallest_class(union))
    if metric.among is not None and np.isnan(bounds[0]) and weights.min() > 0:  # no difference
        return unanimous(value, len(np.unique(union.groups[metric.among(union)])))
    return bounds
