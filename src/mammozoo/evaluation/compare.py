"""Whether one model is better than another: differences of a score with their intervals, and tests of "no difference".

paired bootstrap   any score; whole groups are drawn, the same ones for both models; Student's t of their spread
DeLong             AUC of two classes (DeLong et al. 1988), with the variance of clustered data (Obuchowski 1997)
McNemar            the decisions; exact, by exchanging the models in whole groups
rank-sum           Byra 2021's; on bootstrap replicates, so its p falls with their number: on request, for fidelity only

Images are in one group if they are in either run. With one image a group, the second and the third are the tests that the
literature knows by these names. A run's score is the mean over its folds (and repeats); that of the pooled folds, which the
result says, if a fold of either run has none.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from mammozoo.errors import UsageError, nearest
from mammozoo.evaluation.intervals import DRAWS, LEVEL, jointly, of_difference, smallest_class, values_of
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.paired_tests import delong, holm, mcnemar
from mammozoo.evaluation.prediction_table import is_table
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.resampling import Values, draw, share
from mammozoo.evaluation.scores import finite, fold_weights
from mammozoo.evaluation.seeds import align
from mammozoo.evaluation.selection import ALL, Selection, read_selected
from mammozoo.evaluation.selective import MORE
from mammozoo.plugins import registry
from mammozoo.progress import Progress

BOOTSTRAP = "paired bootstrap by group"
UNPAIRED = "unpaired bootstrap by group"
DELONG = "DeLong by group"
MCNEMAR = "McNemar by group, exact"
RANK_SUM = "rank-sum on bootstrap replicates (Byra 2021; not a valid test)"
OVERFITTING = {"beta": "val", "accuracy-gap": "test"}  # score of accuracies → the part that stands beside training


@dataclass(frozen=True)
class Result:
    """One test of one pair by one score; `str` gives it as a sentence.

    Attributes:
        value_a, value_b: the score of each, and `difference` is a minus b.
        low, high: 95 % interval of the difference, if the test gives one.
        p: of "no difference"; None if the data give none.
        p_holm: p, corrected for the number of pairs.
        better: the better run, a or b; None if `p_holm` is not below 0.05: the data cannot tell.
        images, groups: how many the two runs were tested on.
    """

    a: str
    b: str
    score: str
    value_a: float
    value_b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    better: str | None
    images: int
    groups: int
    test: str

    def __str__(self) -> str:
        verdict = f"{self.better} is better" if self.better else "The data cannot tell which run is better"
        interval = "no interval" if self.low is None else f"{self.low:+.3f} to {self.high:+.3f}"
        p = "no p" if self.p is None else f"p = {self.p:.2g}"
        holm = "" if self.p_holm == self.p else f", {self.p_holm:.2g} after Holm"
        return (
            f"{verdict} by {self.score}: {self.a} {self.value_a:.3f}, {self.b} {self.value_b:.3f}, difference "
            f"{self.difference:+.3f} ({interval}), {p}{holm}; {self.images} images in {self.groups} groups."
        )


@dataclass(frozen=True)
class Contender:
    """A named run's predictions, of all parts."""

    name: str
    predictions: Predictions


@dataclass(frozen=True)
class _Side:
    """A run in one pair, whose groups are numbered alike.

    Attributes:
        test: the outcome of its test images, by name; of one class against the rest if the score is.
        score: its name; it is the mean of `metric` over `outcomes`, one a fold of each repeat.
        few: groups that hold the class that is in the fewest, see `intervals`.
    """

    name: str
    samples: npt.NDArray[np.str_]
    test: Outcome
    score: str
    metric: Metric
    outcomes: tuple[Outcome, ...]
    few: int

    @property
    def value(self) -> float:
        return float(np.mean([self.metric.value(outcome) for outcome in self.outcomes]))


def contenders(
    runs: Sequence[str | Path], selection: Selection = ALL, progress: Progress | None = None
) -> list[Contender]:
    """The runs in these folders, and the predictions in these tables, as far as they are selected; `progress` notes how.

    Of one set of classes in several orders, that of the first counts.

    Raises:
        UsageError: one is named twice, or a table cannot be scored.
        NotFoundError, IncompatibleError: as `read_predictions`.
    """
    paths = [Path(run) for run in runs]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("One run is named twice.")
    if not any(map(is_table, paths)):
        selection.refuse_for_model()
    found = []
    for path in paths:
        rows, notes = read_selected(path, selection)
        for text in notes:
            (progress or Progress()).note(f"{path.name}: {text}")
        found.append(Contender(path.as_posix(), rows))
    return [Contender(one.name, one.predictions.in_order(found[0].predictions.outcome.classes)) for one in found]


def compare(
    contenders: Sequence[Contender], score: str, *, paired: bool = True, rank_sum: bool = False, seed: int = 0
) -> list[Result]:
    """Every test of every pair by a score of `scores.json`; p values of one kind of test are corrected by Holm (1979).

    Raises:
        UsageError: fewer than two, other classes, (paired) other test images or labels, or a score undefined on them.
        NotFoundError: no such score.
    """
    if len(contenders) < 2:
        raise UsageError("Give two or more runs to compare.")
    results: list[Result] = []
    for pair in itertools.combinations(contenders, 2):
        a, b = _sides(pair, score)
        if paired:
            results += _paired(a, b, rank_sum, seed)
        else:
            results.append(_bootstrap(a, b, UNPAIRED, seed)[0])
    higher = score not in OVERFITTING and metric_of(score).higher_is_better
    for test in {result.test for result in results}:
        places = [i for i, result in enumerate(results) if result.test == test]
        for i, p in zip(places, holm([1.0 if (p := results[i].p) is None else p for i in places]), strict=True):
            r = results[i]
            better = r.a if (r.difference > 0) == (higher or test == MCNEMAR) else r.b
            p_holm, told = None if r.p is None else p, p < 1 - LEVEL and test != RANK_SUM
            results[i] = dataclasses.replace(r, p_holm=p_holm, better=better if told else None)
    return results


def metric_of(score: str) -> Metric:
    """The metric of a score, `auc[malignant]` too; NotFoundError if there is none."""
    name = score.partition("[")[0]
    metric: Metric = next((own for own in MORE if own.name == name), None) or registry().get("metrics", name)
    return metric


def _sides(pair: Sequence[Contender], score: str) -> tuple[_Side, _Side]:
    """Both runs of a pair, with groups numbered alike."""
    classes = {one.predictions.outcome.classes for one in pair}
    if len(classes) > 1:
        sides = [f"'{one.name}' has the classes {', '.join(one.predictions.outcome.classes)}" for one in pair]
        raise UsageError(f"{' and '.join(sides)}: they cannot be compared.")
    aligned = align([one.predictions for one in pair])
    runs = [dataclasses.replace(c.predictions, outcome=o) for c, o in zip(pair, aligned, strict=True)]
    if score in OVERFITTING:
        a, b = (_overfitting(one.name, run, score) for one, run in zip(pair, runs, strict=True))
    else:
        metric = metric_of(score)
        keys = metric.keys(*classes)
        if score not in keys:
            raise UsageError(
                f"Of the classes {', '.join(*classes)} there is no score '{score}'.{nearest(score, keys)} "
                f"Scores of that name: {', '.join(keys) or 'none'}."
            )
        if not metric.of_decisions and (hard := [c.name for c in pair if c.predictions.decided_only]):
            raise UsageError(
                f"'{hard[0]}' has no probabilities, which '{score}' needs. Use --metric accuracy, or another of decisions."
            )
        tests = [run.of("test") for run in runs]
        if (number := keys[score]) is not None:
            tests = [dataclasses.replace(t, outcome=t.outcome.one_against_rest(number)) for t in tests]
        folds = [test.by_fold() for test in tests]
        if not all(np.isfinite(metric.value(outcome)) for outcomes in folds for outcome in outcomes):
            folds, score = [[t.outcome] for t in tests], f"{score} (folds pooled)"
        a, b = (
            _Side(one.name, test.samples, test.outcome, score, metric, tuple(outcomes), smallest_class(test.outcome))
            for one, test, outcomes in zip(pair, tests, folds, strict=True)
        )
    for side in (a, b):
        if not np.isfinite(side.value):
            raise UsageError(
                f"'{score}' is undefined on the test images of '{side.name}': a class is missing, or nothing was decided "
                "for it."
            )
    return a, b


def _overfitting(name: str, run: Predictions, score: str) -> _Side:
    """β or the accuracy gap as a score of the rows of both parts, whose accuracies are means over folds; see `scores`."""
    rows = run.take(np.flatnonzero((run.parts == "train") | (run.parts == OVERFITTING[score])))
    train, test, weights = rows.parts == "train", run.of("test"), np.ones(len(rows))
    for part in (train, ~train):
        weights[part] = fold_weights(rows.folds[part])

    def counts(outcome: Outcome) -> Values:
        right = outcome.decisions == outcome.labels
        return weights[:, None] * np.stack([train & right, train, ~train & right, ~train], axis=1)

    def of_counts(sums: Values) -> Values:
        on_train, on_other = share(sums[:, 0], sums[:, 1]), share(sums[:, 2], sums[:, 3])
        return share(on_train, on_other) if score == "beta" else on_train - on_other

    metric = Metric(
        score,
        "overfitting",
        value=lambda outcome: float(of_counts(counts(outcome).sum(axis=0, keepdims=True))[0]),
        resampled=lambda draws: of_counts(draws.sums(counts)),
        higher_is_better=False,
    )
    few = len(np.unique(rows.outcome.groups[~train]))
    return _Side(name, test.samples, test.outcome, score, metric, (rows.outcome,), few)


def _paired(a: _Side, b: _Side, rank_sum: bool, seed: int) -> Iterator[Result]:
    labels = [dict(zip(side.samples.tolist(), side.test.labels.tolist(), strict=True)) for side in (a, b)]
    if labels[0] != labels[1]:
        alone = sorted(labels[0].items() ^ labels[1].items())
        raise UsageError(
            f"'{a.name}' and '{b.name}' were tested on different images ({len(labels[0])} and {len(labels[1])}), or have other "
            f"labels for them: such as '{alone[0][0]}'. Use one split for both, or add --unpaired."
        )
    first, of_a, of_b = _bootstrap(a, b, BOOTSTRAP, seed)
    yield first
    if a.metric.name == "auc" and a.test.binary:
        difference, error = delong(a.outcomes, b.outcomes)
        if error > 0:
            p = float(2 * stats.t.sf(abs(difference) / error, min(a.few, b.few) - 1))
            yield dataclasses.replace(first, low=None, high=None, p=p, p_holm=p, test=DELONG)
    if a.score not in OVERFITTING:
        right = [(side.test.decisions == side.test.labels).astype(np.intp) for side in (a, b)]
        groups = np.unique(np.concatenate([a.test.groups, b.test.groups]), return_inverse=True)[1]
        net = np.zeros(groups.max() + 1, np.intp)  # a run with repeats has several decisions on an image
        np.add.at(net, groups, np.concatenate([right[0] * len(b.test), -right[1] * len(a.test)]))
        p = mcnemar(net // np.gcd(len(a.test), len(b.test)))
        x, y = float(right[0].mean()), float(right[1].mean())
        name = "accuracy" + a.score.partition(" ")[0].removeprefix(a.metric.name)
        yield Result(a.name, b.name, name, x, y, x - y, None, None, p, p, None, first.images, first.groups, MCNEMAR)
    if rank_sum:
        p = float(stats.ranksums(of_a[np.isfinite(of_a)], of_b[np.isfinite(of_b)]).pvalue)
        yield dataclasses.replace(first, low=None, high=None, p=p, p_holm=p, test=RANK_SUM)


def _bootstrap(a: _Side, b: _Side, test: str, seed: int) -> tuple[Result, Values, Values]:
    """The difference with its interval and p, and the (DRAWS,) scores of both runs."""
    scores = _draws([(side.metric, outcome) for side in (a, b) for outcome in side.outcomes], seed)
    of_a, of_b = (part.mean(axis=0) for part in np.split(scores, [len(a.outcomes)]))
    values = (x := a.value), (y := b.value), x - y
    low, high, p = map(finite, of_difference(of_a - of_b, x - y, min(a.few, b.few)))
    images = len(np.unique(np.concatenate([a.samples, b.samples])))
    groups = len(np.unique(np.concatenate([a.test.groups, b.test.groups])))
    return Result(a.name, b.name, a.score, *values, low, high, p, p, None, images, groups, test), of_a, of_b


def _draws(scored: Sequence[tuple[Metric, Outcome]], seed: int) -> Values:
    """(S, DRAWS) scores of S outcomes on the same draws of all their groups."""
    union, parts_of = jointly([outcome for _, outcome in scored])
    draws = []
    for chunk in draw(union, DRAWS, seed):
        with np.errstate(invalid="ignore"):  # a draw without any image of one fold does not count
            draws.append([values_of(m, own) for (m, _), own in zip(scored, parts_of(chunk), strict=True)])
    return np.concatenate(draws, axis=1)
