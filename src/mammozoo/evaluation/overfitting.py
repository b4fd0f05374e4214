"""β, the overfitting ratio: accuracy on the training part over accuracy on validation (Falconí et al. 2020)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.intervals import interval_of_sums
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.scores import Score, score


def overfitting(train: Outcome, val: Outcome, *, seed: int = 0) -> Score:
    """β with its interval: 1 is no overfitting, more is more; n counts the validation samples.

    With several folds both outcomes hold the rows of all folds. A group is drawn in all its rows at once, wherever
    they stand, since the folds share their images.
    """
    groups = np.concatenate([train.groups, val.groups])
    _, index = np.unique(groups, return_inverse=True)
    of_train, of_val = index[: len(train)], index[len(train) :]
    counts = np.stack([*_hits(train, of_train, index.max() + 1), *_hits(val, of_val, index.max() + 1)], axis=1)
    value = float(_ratio(counts.sum(axis=0, keepdims=True))[0])
    return score(value, interval_of_sums(counts, _ratio, len(np.unique(of_val)), seed=seed), len(val))


def _hits(
    outcome: Outcome, index: npt.NDArray[np.intp], groups: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(G,) right decisions and (G,) samples of each group."""
    right = (outcome.decisions == outcome.labels).astype(np.float64)
    hits = np.bincount(index, right, minlength=groups).astype(np.float64)
    return hits, np.bincount(index, minlength=groups).astype(np.float64)


def _ratio(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(B, 4) hits and n of train, hits and n of val → (B,) ratio of the accuracies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: npt.NDArray[np.float64] = (sums[:, 0] / sums[:, 1]) / (sums[:, 2] / sums[:, 3])
    return ratio
