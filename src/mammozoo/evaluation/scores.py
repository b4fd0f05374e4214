"""Scores, each with its interval and n: every metric of an outcome, means, and overfitting as two numbers."""

from __future__ import annotations

import dataclasses
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.intervals import Interval, Kind, interval_all, interval_of_sums, unanimous, views_of
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values, share
from mammozoo.plugins import Plugin, registry
from mammozoo.plugins.discovery import cause
from mammozoo.text import interval

log = logging.getLogger(__name__)
_T = TypeVar("_T")
Folds = tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]
#: Name → summary of a run's scores that are not metrics of its test images.
OVERFITTING = {
    "beta": "overfitting ratio: accuracy on the training part over accuracy on validation",
    "accuracy-gap": "accuracy on the training part minus that on the test part; above 0.10 Falconí 2020 rejects a model",
}


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval and the number of samples that it is about; NaN is written as null.

    Of several folds or repeats the value is their mean. Then `pooled` is the value of all folds' samples put together, and
    `sd` the standard deviation over the repeats (n − 1), each the mean of its folds; None where there is one.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    pooled: float | None = None
    sd: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        return f"{self.value:.3f} ({bounds(self) or 'no interval'})"


def bounds(score: Score) -> str:
    """The interval of a score as text, empty if there is none."""
    return "" if score.low is None or score.high is None else interval(score.low, score.high)


def installed() -> list[Metric]:
    """Every registered metric; a third party's that raises is undefined, with a warning."""
    items = registry().items("metrics").values()
    return [item.value if item.plugin.builtin else guarded(item.value, item.plugin) for item in items]


def score_all(
    outcome: Outcome, *, seed: int = 0, metrics: Sequence[Metric] | None = None, kind: Kind = "bca"
) -> dict[str, Score]:
    """Name → score of the metrics, those `installed` if None; scores of single classes are named `metric[class]`.

    All intervals are on the same draws of groups.
    """
    metrics = installed() if metrics is None else metrics
    found = interval_all(metrics, outcome, seed=seed, kind=kind)
    return {
        key: finite_score(*found[key], metric.count(one)) for key, (metric, one) in views_of(metrics, outcome).items()
    }


def as_json(scores: dict[str, Score]) -> dict[str, dict[str, float | int | None]]:
    """Scores as `scores.json` and `--json` hold them; `pooled` and `sd` only where there is one."""
    optional = ("pooled", "sd")
    return {
        name: {
            key: value for key, value in dataclasses.asdict(score).items() if key not in optional or value is not None
        }
        for name, score in scores.items()
    }


def finite_score(value: float, interval: Interval, n: int) -> Score:
    """A score of numbers that may be NaN or infinite."""
    return Score(finite(value), finite(interval[0]), finite(interval[1]), n)


def mean(values: Sequence[float], groups: Sequence[int], *, shares: bool = False) -> Score:
    """The mean of (n,) values with its 95 % interval over their (n,) groups, whose samples are not independent.

    `shares` lie between 0 and 1: if all are 0, or all 1, the mean has the exact interval of a proportion.
    """
    if not values:
        return Score(None, None, None, 0)
    x = np.asarray(values, dtype=np.float64)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(place, x), np.bincount(place)], axis=1).astype(np.float64)
    interval = interval_of_sums(sums, lambda drawn: share(drawn[:, 0], drawn[:, 1]), len(sums))
    if shares and math.isnan(interval[0]):
        interval = unanimous(float(x.mean()), len(sums))
    return finite_score(float(x.mean()), interval, len(x))


def overfitting(train: Outcome, val: Outcome, *, folds: Folds | None = None, seed: int = 0) -> Score:
    """β, the ratio of accuracies in training and validation (Falconí 2020), with its interval: above 1 is overfitting.

    n counts the validation samples. With several folds both outcomes hold the rows of all folds, and each accuracy is the mean
    over the `folds`, which name the fold of each row of both. A group is drawn in all its rows at once, wherever they stand,
    since the folds share their images.
    """
    return _compare_accuracies(train, val, np.divide, folds, seed)


def accuracy_gap(train: Outcome, test: Outcome, *, folds: Folds | None = None, seed: int = 0) -> Score:
    """Accuracy on the training part minus accuracy on the test part, −1 to 1, drawn as β is; n counts the test samples.

    The 10-point rule of Falconí et al. 2020 (section 4.3.3) rejects a model whose gap is above 0.10.
    """
    return _compare_accuracies(train, test, np.subtract, folds, seed)


def fold_weights(folds: npt.NDArray[np.str_]) -> Values:
    """(N,) weights of rows, by which all folds count alike; 1 if they have the same size."""
    _, index, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    return np.asarray((len(folds) / len(sizes)) / sizes[index])


def _compare_accuracies(
    train: Outcome, other: Outcome, compare: Callable[[Values, Values], Values], folds: Folds | None, seed: int
) -> Score:
    """`compare(accuracy on train, accuracy on other)`; n counts the samples of `other`."""
    _, index = np.unique(np.concatenate([train.groups, other.groups]), return_inverse=True)
    columns = []
    for place, (outcome, group) in enumerate(((train, index[: len(train)]), (other, index[len(train) :]))):
        weights = fold_weights(folds[place]) if folds else np.ones(len(outcome))
        right = weights * (outcome.decisions == outcome.labels)
        columns += [np.bincount(group, of, index.max() + 1) for of in (right, weights)]

    def statistic(sums: Values) -> Values:
        """(B, 4) right decisions and n of train, right decisions and n of other → (B,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return compare(sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3])

    counts = np.stack(columns, axis=1).astype(np.float64)
    value = float(statistic(counts.sum(axis=0, keepdims=True))[0])
    return finite_score(value, interval_of_sums(counts, statistic, len(np.unique(other.groups)), seed=seed), len(other))


def finite(value: float) -> float | None:
    """The value; None if it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None


def guarded(metric: Metric, plugin: Plugin) -> Metric:
    """The metric with NaN wherever it raises or gives no number, so that hours of training are not lost with it.

    The first reason is a warning that names `plugin`. A metric that raises in single draws of the bootstrap only (those
    without a class, say) keeps its value and its interval.
    """
    warned = False

    def attempt(compute: Callable[[], _T], otherwise: _T) -> _T:
        nonlocal warned
        try:
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # numpy's, of a 0 / 0
                return compute()
        except (Exception, SystemExit) as error:
            if not warned:
                log.warning(
                    "Score '%s' of plugin '%s' (%s %s) is undefined where it raises: %s",
                    metric.name, plugin.name, plugin.distribution, plugin.version, cause(error),
                )  # fmt: skip
            warned = True
            return otherwise

    def value(outcome: Outcome) -> float:
        return attempt(lambda: float(metric.value(outcome)), math.nan)

    def checked(draws: Resamples) -> Values:
        assert metric.resampled is not None
        values = np.asarray(metric.resampled(draws), dtype=np.float64)
        if values.shape != (len(draws),):
            raise ValueError(f"`resampled` gives {values.shape}, not ({len(draws)},)")
        return values

    def resampled(draws: Resamples) -> Values:
        return attempt(lambda: checked(draws), np.full(len(draws), np.nan))

    def among(outcome: Outcome) -> npt.NDArray[np.bool_]:
        assert metric.among is not None
        of = metric.among
        return attempt(lambda: np.broadcast_to(of(outcome), len(outcome)).astype(bool), np.zeros(len(outcome), bool))

    return dataclasses.replace(
        metric,
        value=value,
        resampled=None if metric.resampled is None else resampled,
        among=None if metric.among is None else among,
    )
