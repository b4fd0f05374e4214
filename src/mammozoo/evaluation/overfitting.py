"""Overfitting in two numbers: β, the ratio of accuracies in training and validation (Falconí 2020), and the gap to testing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.intervals import interval_of_sums
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.scores import Score, score

Values = npt.NDArray[np.float64]


def overfitting(train: Outcome, val: Outcome, *, seed: int = 0) -> Score:
    """β with its interval: 1 is no overfitting, more is more; n counts the validation samples.

    With several folds both outcomes hold the rows of all folds. A group is drawn in all its rows at once, wherever
    they stand, since the folds share their images.
    """
    return _compared(train, val, np.divide, seed)


def accuracy_gap(train: Outcome, test: Outcome, *, seed: int = 0) -> Score:
    """Accuracy on the training part minus accuracy on the test part, −1 to 1, drawn as β is; n counts the test samples.

    The 10-point rule of Falconí et al. 2020 (section 4.3.3) rejects a model whose gap is above 0.10.
    """
    return _compared(train, test, np.subtract, seed)


def _compared(train: Outcome, other: Outcome, compare: Callable[[Values, Values], Values], seed: int) -> Score:
    """`compare(accuracy on train, accuracy on other)` with its interval; n counts the samples of `other`."""
    groups = np.concatenate([train.groups, other.groups])
    _, index = np.unique(groups, return_inverse=True)
    of_train, of_other = index[: len(train)], index[len(train) :]
    counts = np.stack([*_hits(train, of_train, index.max() + 1), *_hits(other, of_other, index.max() + 1)], axis=1)

    def statistic(sums: Values) -> Values:
        """(B, 4) hits and n of train, hits and n of other → (B,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return compare(sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3])

    value = float(statistic(counts.sum(axis=0, keepdims=True))[0])
    return score(value, interval_of_sums(counts, statistic, len(np.unique(of_other)), seed=seed), len(other))


def _hits(outcome: Outcome, index: npt.NDArray[np.intp], groups: int) -> tuple[Values, Values]:
    """(G,) right decisions and (G,) samples of each group."""
    right = (outcome.decisions == outcome.labels).astype(np.float64)
    hits = np.bincount(index, right, minlength=groups).astype(np.float64)
    return hits, np.bincount(index, minlength=groups).astype(np.float64)
