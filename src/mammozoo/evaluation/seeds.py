"""A score over several folds, repeats or seeds: the mean, its interval by one bootstrap over groups, and its spread.

Runs of one recipe with other seeds test overlapping sets of images with other models. So their predictions are not pooled
and not taken as independent. Groups are drawn once from all that any seed has tested, and every seed uses the drawn
groups that it has tested. The statistic is the mean of the seeds' scores:

    θ = 1/S · Σ_s score(predictions of seed s)

The folds of one seed differ in their models too, which have a temperature and a threshold each. The score of a seed is then
the mean of its folds. The repeats of a run are seeds, which share their split. The interval holds for these trained models
and other patients. The range over seeds shows how much training and splitting move the score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.evaluation.intervals import Kind, mean_intervals, values_by_key
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.resampling import Values
from mammozoo.evaluation.scores import Score, finite, installed, score_all


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
    metric: Metric,
    number: int | None,
    outcomes: Sequence[Outcome | Sequence[Outcome]],
    *,
    minus: Sequence[Outcome | Sequence[Outcome]] = (),
    seed: int = 0,
) -> SeedScore:
    """The mean over seeds of one score; `number` is the class to score against the rest, None for all classes.

    A seed has one outcome, or one for each fold, whose mean is its score. With `minus`, outcomes of the same seeds, the
    difference of the means on the same draws of groups; the range is that of each seed's difference. The groups of the
    outcomes are numbered alike, see `align`.
    """
    seeds = [[one] if isinstance(one, Outcome) else list(one) for one in (*outcomes, *minus)]
    n = len(outcomes)
    every, weights = _flat(seeds, n)
    (key,) = (key for key, own in metric.keys(every[0].classes).items() if own == number)
    values = np.array([np.mean([values_by_key([metric], one)[key] for one in folds]) for folds in seeds])
    each = values[:n] - values[n:] if minus else values
    interval = mean_intervals([metric], every, weights, {key: float(each.mean())}, seed=seed)[key]
    return SeedScore(*map(finite, (each.mean(), *interval, min(each), max(each))))


def score_folds(
    test: Predictions, *, seed: int = 0, kind: Kind = "bca", more: Sequence[Metric] = ()
) -> dict[str, Score]:
    """Every registered score, and `more`, of a run's test parts: the mean over folds, and of that over repeats.

    Of one fold it is `score_all`.

    The folds have thresholds and temperatures of their own, so their probabilities are not on one scale: the value of all
    samples put together is `Score.pooled`. One of the folds in which a score is undefined makes the mean undefined. Without
    probabilities there are only the scores of decisions.
    """
    repeats = test.by_repeat()
    seeds, whole = [one.by_fold() for one in repeats], [one.outcome for one in repeats]
    metrics = [metric for metric in (*installed(), *more) if metric.of_decisions or not test.decided_only]
    every, weights = _flat(seeds, len(seeds))
    scores = score_all(whole[0], seed=seed, metrics=metrics, kind=kind)
    if len(every) == 1:
        return scores
    scored = [[values_by_key(metrics, one) for one in folds] for folds in seeds]
    together = [values_by_key(metrics, one) for one in whole]
    each = {key: np.array([np.mean([one[key] for one in folds]) for folds in scored]) for key in scores}
    pooled = {key: float(np.mean([one[key] for one in together])) for key in scores}
    means = {key: float(values.mean()) for key, values in each.items()}
    intervals = mean_intervals(metrics, every, weights, means, seed=seed, kind=kind)
    for key, score in scores.items():
        low, high = map(finite, intervals[key])
        if low is None and score.value == means[key]:  # all draws agree, as they do when all is right
            low, high = score.low, score.high
        scores[key] = Score(
            finite(means[key]), low, high, score.n,
            pooled=finite(pooled[key]) if len(every) > len(seeds) else None,
            sd=finite(float(each[key].std(ddof=1))) if len(seeds) > 1 else None,
        )  # fmt: skip
    return scores


def _flat(seeds: Sequence[Sequence[Outcome]], n: int) -> tuple[list[Outcome], Values]:
    """All outcomes, and the weight of each in the mean over the first n seeds, minus that over the others."""
    weights = [np.full(len(folds), (1 if place < n else -1) / n / len(folds)) for place, folds in enumerate(seeds)]
    return [one for folds in seeds for one in folds], np.concatenate(weights)
