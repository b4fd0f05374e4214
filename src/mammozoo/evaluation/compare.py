"""Whether one model is better than another: differences of a score with their intervals, and tests of "no difference".

paired bootstrap   any metric; whole groups are drawn, the same ones for both models
DeLong             AUC of two classes; exact variance, but takes images as independent (DeLong et al. 1988)
McNemar            the decisions; exact binomial on the images that only one of the models gets right
rank-sum           Byra 2021's; on bootstrap replicates, so its p falls with their number: shown for fidelity only
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from mammozoo.errors import UsageError
from mammozoo.evaluation.intervals import DRAWS, LEVEL, values_of
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Values, draw

BOOTSTRAP = "paired bootstrap by group"
UNPAIRED = "unpaired bootstrap by group"
DELONG = "DeLong, images as independent"
MCNEMAR = "McNemar on decisions, exact"
RANK_SUM = "rank-sum on bootstrap replicates (Byra 2021; not a valid test)"


@dataclass(frozen=True)
class Result:
    """One test of one pair: `difference` is the score of a minus that of b, with its 95 % interval if the test gives one."""

    a: str
    b: str
    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    test: str


@dataclass(frozen=True)
class Contender:
    """A named model's outcome on the images `samples`."""

    name: str
    samples: tuple[str, ...]
    outcome: Outcome


def compare(contenders: Sequence[Contender], metric: Metric, *, paired: bool = True, seed: int = 0) -> list[Result]:
    """Every test of every pair; p values of one kind of test are corrected for the number of pairs (Holm 1979).

    Raises:
        UsageError: fewer than two, other classes, (paired) other test images or labels, or a metric undefined on them.
    """
    if len(contenders) < 2:
        raise UsageError("Comparing takes two runs or more.")
    for one in contenders:
        classes = one.outcome.classes
        if metric.name not in metric.keys(classes):
            raise UsageError(
                f"'{metric.name}' is a score of two classes, and '{one.name}' has {len(classes)}. Compare by a score of all "
                "classes, such as auc or accuracy."
            )
        if not np.isfinite(metric.value(one.outcome)):
            raise UsageError(
                f"'{metric.name}' is undefined on the test images of '{one.name}': a class is missing, or nothing was "
                "decided for it."
            )
    results: list[Result] = []
    for a, b in itertools.combinations(contenders, 2):
        if a.outcome.classes != b.outcome.classes:
            sides = [f"'{one.name}' has the classes {', '.join(one.outcome.classes)}" for one in (a, b)]
            raise UsageError(f"{' and '.join(sides)}: they cannot be compared.")
        if paired:
            results += _paired(a, b, metric, seed)
        else:
            difference = metric.value(a.outcome) - metric.value(b.outcome)
            draws = _draws(metric, a.outcome, seed) - _draws(metric, b.outcome, seed + 1)
            results.append(_bootstrapped(a, b, difference, draws, UNPAIRED))
    for test in {result.test for result in results}:
        places = [i for i, result in enumerate(results) if result.test == test]
        for i, p in zip(places, holm([results[i].p for i in places]), strict=True):
            results[i] = dataclasses.replace(results[i], p_holm=p)
    return results


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of m times (m − k + 1), never falling, at most 1."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected.tolist()


def delong(
    positive: npt.NDArray[np.bool_], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """(difference of the AUCs of scores a and b on the same images, its standard error); DeLong, DeLong & Clarke-Pearson 1988.

    With midranks, as in Sun & Xu 2014, so that memory stays linear in the number of images.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    v10, v01 = [], []
    for scores in (a, b):
        ranks = stats.rankdata(scores)
        v10.append((ranks[positive] - stats.rankdata(scores[positive])) / n)
        v01.append(1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / m)
    variance = np.var(v10[0] - v10[1], ddof=1) / m + np.var(v01[0] - v01[1], ddof=1) / n
    return float(v10[0].mean()) - float(v10[1].mean()), float(np.sqrt(variance))


def _paired(a: Contender, b: Contender, metric: Metric, seed: int) -> Iterator[Result]:
    first, second = a.outcome, b.outcome
    if a.samples != b.samples or not np.array_equal(first.labels, second.labels):
        raise UsageError(
            f"'{a.name}' and '{b.name}' were tested on different images ({len(first)} and {len(second)}). Give them one "
            "split, or say --unpaired."
        )
    second = dataclasses.replace(second, groups=first.groups)
    difference = metric.value(first) - metric.value(second)
    of_a, of_b = _draws(metric, first, seed), _draws(metric, second, seed)
    yield _bootstrapped(a, b, difference, of_a - of_b, BOOTSTRAP)
    if metric.name == "auc" and first.binary:
        estimate, error = delong(first.labels == 1, first.probabilities[:, 1], second.probabilities[:, 1])
        if error > 0:
            half = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
            p = float(2 * stats.norm.sf(abs(estimate) / error))
            yield Result(a.name, b.name, estimate, estimate - half, estimate + half, p, p, DELONG)
    right_a, right_b = first.decisions == first.labels, second.decisions == second.labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    yield Result(a.name, b.name, (only_a - only_b) / len(first), None, None, p, p, MCNEMAR)
    p = float(stats.ranksums(of_a[np.isfinite(of_a)], of_b[np.isfinite(of_b)]).pvalue)
    yield Result(a.name, b.name, difference, None, None, p, p, RANK_SUM)


def _draws(metric: Metric, outcome: Outcome, seed: int) -> Values:
    """(DRAWS,) values of the metric; the same groups are drawn from outcomes with the same groups."""
    return np.concatenate([values_of(metric, chunk) for chunk in draw(outcome, DRAWS, seed)])


def _bootstrapped(a: Contender, b: Contender, difference: float, draws: Values, test: str) -> Result:
    """Percentile interval, and twice the share of draws on the far side of zero (never 0: the draws are finite)."""
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    side = min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(1.0, 2 * (int(side) + 1) / (len(draws) + 1))
    return Result(a.name, b.name, difference, float(low), float(high), p, p, test)
