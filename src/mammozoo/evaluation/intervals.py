"""Confidence intervals by a bootstrap over groups: BCa (Efron 1987), widened for few groups (Hesterberg 2015).

Whole groups are drawn with replacement, because images of one patient, or copies of one image, are not
independent evidence. One set of draws serves all metrics.

A percentile interval reaches from the α/2 to the 1 − α/2 quantile of the draws. It is too narrow near a ceiling (an
AUC of 0.97) and with few groups. So other quantiles are taken:

    α′ = Φ(−√(n/(n−1)) · t)                    t: 1 − α/2 quantile of Student's t with n − 1 degrees of freedom;
                                               n: groups that hold the rarer class
    q(z) = Φ(z₀ + (z₀ + z) / (1 − a (z₀ + z)))   z = ±Φ⁻¹(α′)
    z₀ = Φ⁻¹(share of draws below the score)   the bias of the draws
    a  = Σ d³ / 6 (Σ d²)^1.5                   their skewness; d: mean of the jackknife values minus each, by groups

A score is inside its own interval: where nearly all draws are above it, as of a calibration error with few samples a bin,
the formula would leave it outside (|z₀| > 1.96), and the bound is the score.

With `kind="percentile"` the interval is that plain one, as other studies report it.
A difference of two scores has an interval of its own, see `of_difference`.
A proportion of 0 or 1 is the same in all draws. It has the exact binomial interval (Clopper & Pearson 1934) of its groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import stats

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import CELLS, Resamples, Source, Values, dealt, draw, leave_out

DRAWS = 2000
LEVEL = 0.95

Interval = tuple[float, float]
Kind = Literal["bca", "percentile"]


def interval_all(
    metrics: Iterable[Metric], outcome: Outcome, *, draws: int | None = None, seed: int = 0, kind: Kind = "bca"
) -> dict[str, tuple[float, Interval]]:
    """(value, (low, high)) of each metric from the same draws, by `Metric.keys`: also of single classes, `metric[class]`.

    The bounds are NaN if the draws cannot tell: the score is undefined in most of them or the same in all of them, or a
    class is in one group alone. A proportion (`Metric.among`) of 0 or 1 then has its exact interval.
    """
    metrics = list(metrics)
    values = values_by_key(metrics, outcome)
    bounds = mean_intervals(metrics, [outcome], np.ones(1), values, draws=draws, seed=seed, kind=kind)
    return {key: (value, bounds[key]) for key, value in values.items()}


def views_of(metrics: Iterable[Metric], outcome: Outcome) -> dict[str, tuple[Metric, Outcome]]:
    """Key, by `Metric.keys` → the metric, and the outcome that it scores: the whole, or one class against the rest."""
    return {
        key: (metric, outcome if number is None else outcome.one_against_rest(number))
        for metric in metrics
        for key, number in metric.keys(outcome.classes).items()
    }


def values_by_key(metrics: Iterable[Metric], outcome: Outcome) -> dict[str, float]:
    """The scores alone."""
    return {key: metric.value(one) for key, (metric, one) in views_of(metrics, outcome).items()}


def jointly(outcomes: Sequence[Outcome]) -> tuple[Outcome, Callable[[Resamples], list[Resamples]]]:
    """All outcomes put together, and what gives each one's part of draws of their groups, which are numbered alike."""
    outcomes = dealt(outcomes)
    union = _union(outcomes)
    tested = np.unique(union.groups)
    places = [(Source(outcome), np.searchsorted(tested, np.unique(outcome.groups))) for outcome in outcomes]
    return union, lambda chunk: [Resamples(s, np.ascontiguousarray(chunk.times[:, at])) for s, at in places]


def _union(outcomes: Sequence[Outcome]) -> Outcome:
    if len(outcomes) == 1:
        return outcomes[0]
    columns = ("labels", "probabilities", "decisions", "groups")
    joined = {name: np.concatenate([getattr(outcome, name) for outcome in outcomes]) for name in columns}
    return Outcome(outcomes[0].classes, **joined)


def mean_intervals(
    metrics: Sequence[Metric],
    outcomes: Sequence[Outcome],
    weights: Values,
    values: Mapping[str, float],
    *,
    draws: int | None = None,
    seed: int = 0,
    kind: Kind = "bca",
) -> dict[str, Interval]:
    """The bounds of each of the `values`, the sums of the outcomes' scores by their (O,) weights; keys by `Metric.keys`.

    All are on the same draws of the groups of all outcomes.
    """
    union, parts_of = jointly(outcomes)
    draws = draws or draws_of(kind, len(union))

    def combined(chunks: Iterable[Resamples]) -> dict[str, Values]:
        parts: dict[str, list[Values]] = {key: [] for key in values}
        for chunk in chunks:
            with np.errstate(invalid="ignore"):  # a draw without any image of one outcome does not count
                each = [resample(metrics, own.source.outcome, [own]) for own in parts_of(chunk)]
                for key, part in parts.items():
                    part.append(weights @ np.stack([one[key] for one in each]))
        return {key: np.concatenate(part) for key, part in parts.items()}

    drawn = combined(draw(union, draws, seed))
    if kind == "percentile":
        return {key: percentiles(of) for key, of in drawn.items()}
    views = {key: view for key, view in views_of(metrics, _union(outcomes)).items() if key in values}
    few = {id(one): smallest_class(one) for one in {id(one): one for _, one in views.values()}.values()}
    if weights.min() < 0:
        return {key: of_difference(drawn[key], values[key], few[id(one)])[:2] for key, (_, one) in views.items()}
    without, bounds = combined(leave_out(union, seed)), {}
    for key, (metric, one) in views.items():
        bounds[key] = bca(drawn[key], values[key], without[key], few[id(one)])
        if metric.among is not None and np.isnan(bounds[key][0]):
            bounds[key] = unanimous(values[key], len(np.unique(one.groups[metric.among(one)])))
    return bounds


def interval_of_sums(sums: Values, statistic: Callable[[Values], Values], few: int, *, seed: int = 0) -> Interval:
    """The bounds of a `statistic` of sums over groups, such as a mean: (G, M) sums of each group → (B, M) → (B,).

    Groups are drawn in chunks, so that memory is flat.
    """
    count, rng = len(sums), np.random.default_rng(seed)
    chunk = max(1, CELLS // count)
    rows = [min(chunk, DRAWS - start) for start in range(0, DRAWS, chunk)]
    drawn = [rng.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64) @ sums for size in rows]
    total = sums.sum(axis=0)
    return bca(statistic(np.concatenate(drawn)), float(statistic(total[None])[0]), statistic(total - sums), few)


def resample(metrics: Iterable[Metric], outcome: Outcome, chunks: Iterable[Resamples]) -> dict[str, Values]:
    """Key → (draws,) values of each metric on the same draws of `outcome`, by `Metric.keys`."""
    keys = [(key, metric, number) for metric in metrics for key, number in metric.keys(outcome.classes).items()]
    parts: dict[str, list[Values]] = {key: [] for key, _, _ in keys}
    for chunk in chunks:
        for key, metric, number in keys:
            parts[key].append(values_of(metric, chunk if number is None else chunk.each_against_rest[number]))
    return {key: np.concatenate(part) for key, part in parts.items()}


def values_of(metric: Metric, chunk: Resamples) -> Values:
    """(B,) scores of the draws, NaN for one without any sample; slow for a metric that cannot be resampled at once."""
    if metric.resampled is not None:
        return metric.resampled(chunk)
    samples = np.arange(len(chunk.outcome))
    drawn = (np.repeat(samples, row[chunk.source.index]) for row in chunk.times)
    return np.array([metric.value(chunk.outcome.take(index)) if len(index) else np.nan for index in drawn])


def bca(draws: Values, value: float, jackknife: Values, few: int) -> Interval:
    """The (low, high) bounds of a score from its draws, its value, its values without some groups, and n as above."""
    finite = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(finite) < len(draws) / 2 or np.ptp(finite) < 1e-12 or few < 2:
        return float("nan"), float("nan")
    wide = np.sqrt(few / (few - 1)) * stats.t.ppf((1 + LEVEL) / 2, few - 1)
    # A draw that ties with the score is half below it; no share is 0 or 1, for which there were too few draws.
    below = (np.sum(finite < value) + np.sum(finite == value) / 2) / len(finite)
    bias = stats.norm.ppf(np.clip(below, 0.5 / len(finite), 1 - 0.5 / len(finite)))
    left = jackknife[np.isfinite(jackknife)]
    d = left.mean() - left if len(left) else np.zeros(1)
    skewness = np.sum(d**3) / (6 * np.sum(d**2) ** 1.5) if np.sum(d**2) > 0 else 0.0
    z = bias + np.array([-wide, wide])
    # Past its pole the formula turns back; then everything on that side is inside.
    shrink = 1 - skewness * z
    shares = np.where(shrink > 0, stats.norm.cdf(bias + z / np.where(shrink > 0, shrink, 1)), (z > 0).astype(float))
    low, high = np.quantile(finite, shares)
    return float(min(low, value)), float(max(high, value))


def draws_of(kind: Kind, n: int) -> int:
    """How many draws an interval of n samples rests on: of plain percentiles more, since no formula smooths them."""
    return DRAWS if kind == "bca" else max(DRAWS, min(5 * DRAWS, 20_000_000 // n))


def percentiles(draws: Values) -> Interval:
    """The plain interval: from the 2.5 % to the 97.5 % quantile of the draws; NaN if the score is undefined in most of them."""
    finite = draws[np.isfinite(draws)]
    if len(finite) < len(draws) / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def of_difference(draws: Values, value: float, few: int) -> tuple[float, float, float]:
    """(low, high, p) of a difference of two scores, from its draws; p of "there is none", two-sided.

    The interval is value ± t √(n/(n−1)) · standard deviation of the draws, t and n as above, and p is one minus the level at
    which it reaches 0, however small. It is not BCa: a difference of like scores has neither a ceiling nor a skewness to
    correct, and estimates of both from few groups find too many differences. NaN as in `bca`; p is 1 if no draw differs from 0.
    """
    finite = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(finite) < len(draws) / 2 or few < 2:
        return float("nan"), float("nan"), float("nan")
    error = float(np.std(finite)) * np.sqrt(few / (few - 1))
    if error < 1e-12:
        return float("nan"), float("nan"), 1.0 if abs(value) < 1e-12 else float("nan")
    half = error * stats.t.ppf((1 + LEVEL) / 2, few - 1)
    return value - half, value + half, float(2 * stats.t.sf(abs(value) / error, few - 1))


def unanimous(value: float, groups: int) -> Interval:
    """The exact bounds (Clopper & Pearson 1934) of a proportion on which so many groups agree: 0 or 1; else NaN."""
    if round(value, 12) not in (0, 1) or not groups:
        return float("nan"), float("nan")
    bounds = stats.binomtest(groups * round(value), groups).proportion_ci(LEVEL, method="exact")
    return float(bounds.low), float(bounds.high)


def smallest_class(outcome: Outcome) -> int:
    """How many groups hold the class that is in the fewest of them; a class without samples does not count."""
    return min(len(np.unique(outcome.groups[outcome.labels == number])) for number in np.unique(outcome.labels))
