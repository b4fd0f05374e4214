"""Overfitting in two numbers: β, the ratio of accuracies in training and validation (Falconí 2020), and the gap to testing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mammozoo.evaluation.intervals import interval_of_sums
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Values
from mammozoo.evaluation.scores import Score, finite_score


def overfitting(train: Outcome, val: Outcome, *, seed: int = 0) -> Score:
    """β with its interval: 1 means no overfitting, and overfitting raises it; n counts the validation samples.

    With several folds both outcomes hold the rows of all folds. A group is drawn in all its rows at once, wherever
    they stand, since the folds share their images.
    """
    return _compare_accuracies(train, val, np.divide, seed)


def accuracy_gap(train: Outcome, test: Outcome, *, seed: int = 0) -> Score:
    """Accuracy on the training part minus accuracy on the test part, −1 to 1, drawn as β is; n counts the test samples.

    The 10-point rule of Falconí et al. 2020 (section 4.3.3) rejects a model whose gap is above 0.10.
    """
    return _compare_accuracies(train, test, np.subtract, seed)


def _compare_accuracies(
    train: Outcome, other: Outcome, compare: Callable[[Values, Values], Values], seed: int
) -> Score:
    """`compare(accuracy on train, accuracy on other)` with its interval; n counts the samples of `other`."""
    _, index = np.unique(np.concatenate([train.groups, other.groups]), return_inverse=True)
    columns = []
    for outcome, group in ((train, index[: len(train)]), (other, index[len(train) :])):
        right = (outcome.decisions == outcome.labels).astype(np.float64)
        columns += [np.bincount(group, weights, index.max() + 1) for weights in (right, np.ones(len(outcome)))]

    def statistic(sums: Values) -> Values:
        """(B, 4) right decisions and n of train, right decisions and n of other → (B,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return compare(sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3])

    counts = np.stack(columns, axis=1).astype(np.float64)
    value = float(statistic(counts.sum(axis=0, keepdims=True))[0])
    return finite_score(value, interval_of_sums(counts, statistic, len(np.unique(other.groups)), seed=seed), len(other))
