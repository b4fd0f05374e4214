"""The numbers behind the report's curves: ROC with its interval band, precision–recall, reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from mammozoo.evaluation.intervals import LEVEL
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import draw

Values = npt.NDArray[np.float64]

#: Bootstrap draws behind a band: enough for its 2.5 % and 97.5 % bounds to stand still at the width of a line.
DRAWS = 1000
BINS = 10


@dataclass(frozen=True)
class Roc:
    """A ROC curve of one class against the rest.

    Attributes:
        fpr, tpr: (T,) the curve.
        grid, low, high: (G,) pointwise 95 % band of the sensitivity at each false-positive rate.
        point: (false-positive rate, sensitivity) of the decisions that the run made.
    """

    name: str
    fpr: Values
    tpr: Values
    area: float
    grid: Values
    low: Values
    high: Values
    point: tuple[float, float]


@dataclass(frozen=True)
class PrecisionRecall:
    """A precision–recall curve; `share` is the class's share, the precision of guessing; `point` is (recall, precision)."""

    name: str
    recall: Values
    precision: Values
    area: float
    share: float
    point: tuple[float, float] | None


@dataclass(frozen=True)
class Reliability:
    """Predicted and observed frequency in those of ten equal bins of probability that hold images.

    Attributes:
        predicted, observed: (B,) mean probability and share of images for which it came true.
        low, high: (B,) Wilson 95 % interval of `observed`, images taken as independent.
        counts: (BINS,) images in every bin, empty ones included.
        of: whose probability it is.
    """

    predicted: Values
    observed: Values
    low: Values
    high: Values
    counts: npt.NDArray[np.intp]
    of: str


def views(outcome: Outcome) -> list[Outcome]:
    """The two-class outcomes to draw: the outcome itself, or each class against the rest; only where both sides have images."""
    each = [outcome] if outcome.binary else [outcome.one_against_rest(k) for k in range(len(outcome.classes))]
    return [view for view in each if len(np.unique(view.labels)) == 2]


def roc(outcome: Outcome, seed: int = 0) -> Roc:
    """The curve of a two-class outcome; its band is from a bootstrap over groups."""
    positive, score = outcome.labels == 1, outcome.probabilities[:, 1]
    fpr, tpr, _ = roc_curve(positive, score)
    grid = np.linspace(0, 1, 101)
    sensitivities = [
        np.interp(grid, np.append(0, false / false[-1]), np.append(0, true / true[-1]))
        for chunk in draw(outcome, DRAWS, seed)
        for true, false in zip(chunk.ranked.true, chunk.ranked.false, strict=True)
        if true[-1] and false[-1]  # a draw may miss a class
    ]
    low, high = np.quantile(sensitivities, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    decided = outcome.decisions == 1
    point = float(decided[~positive].mean()), float(decided[positive].mean())
    return Roc(outcome.classes[1], fpr, tpr, float(roc_auc_score(positive, score)), grid, low, high, point)


def precision_recall(outcome: Outcome) -> PrecisionRecall:
    """The curve of a two-class outcome."""
    positive, score = outcome.labels == 1, outcome.probabilities[:, 1]
    precision, recall, _ = precision_recall_curve(positive, score)
    decided = outcome.decisions == 1
    point = (float(decided[positive].mean()), float(positive[decided].mean())) if decided.any() else None
    area = float(average_precision_score(positive, score))
    return PrecisionRecall(outcome.classes[1], recall, precision, area, float(positive.mean()), point)


def reliability(outcome: Outcome) -> Reliability:
    """Of two classes the second's probability; of more, that of the most probable class."""
    if outcome.binary:
        p, true, of = outcome.probabilities[:, 1], outcome.labels == 1, outcome.classes[1]
    else:
        p, of = outcome.probabilities.max(axis=1), "the most probable class"
        true = outcome.probabilities.argmax(axis=1) == outcome.labels
    p = p.clip(0, 1)
    observed, predicted = calibration_curve(true, p, n_bins=BINS, strategy="uniform", pos_label=True)
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], p)  # as calibration_curve does
    counts = np.bincount(place, minlength=BINS).astype(np.intp)
    hits = np.bincount(place, true, minlength=BINS).astype(int)
    bounds = [
        binomtest(int(k), int(n)).proportion_ci(LEVEL, method="wilson") for k, n in zip(hits, counts, strict=True) if n
    ]
    low, high = np.array([b.low for b in bounds]), np.array([b.high for b in bounds])
    return Reliability(predicted, observed, low, high, counts, of)
