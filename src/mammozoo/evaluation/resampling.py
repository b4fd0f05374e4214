"""Scores of many weighted resamples at once: what makes 2,000 bootstrap draws cheap.

scikit-learn computes each point estimate; these give the same numbers for weights that are all one (a test
holds them to it) and have a row for each draw.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.outcome import Outcome

Values = npt.NDArray[np.float64]


def weighted_auc(positive: npt.NDArray[np.bool_], score: Values, weights: Values) -> Values:
    """(B,) areas under the ROC curve of (N,) scores; ties count half. NaN where a class has no weight."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    ordered = weights[:, order]
    of_positive = np.add.reduceat(ordered * positive[order], starts, axis=1)
    of_negative = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    below = np.cumsum(of_negative, axis=1) - of_negative / 2
    total = of_positive.sum(axis=1) * of_negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        area: Values = (of_positive * below).sum(axis=1) / total
    return area


def confusion(outcome: Outcome, weights: Values) -> Values:
    """(B, K, K) weighted counts, rows are labels and columns decisions."""
    k = len(outcome.classes)
    cell = outcome.labels * k + outcome.decisions
    one_hot = np.eye(k * k)[cell]
    return (weights @ one_hot).reshape(-1, k, k)
