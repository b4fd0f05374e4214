"""β, the overfitting ratio: accuracy on the training part over accuracy on validation (Falconí et al. 2020)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.intervals import DRAWS, bca
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.scores import Score


def overfitting(train: Outcome, val: Outcome, *, seed: int = 0) -> Score:
    """β with its interval: 1 is no overfitting, more is more; n counts the validation samples.

    With several folds both outcomes hold the rows of all folds. A group is drawn in all its rows at once, wherever
    they stand, since the folds share their images.
    """
    groups = np.concatenate([train.groups, val.groups])
    _, index = np.unique(groups, return_inverse=True)
    of_train, of_val = index[: len(train)], index[len(train) :]
    counts = np.stack([*_hits(train, of_train, index.max() + 1), *_hits(val, of_val, index.max() + 1)], axis=1)
    draws = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=DRAWS)
    total = counts.sum(axis=0)
    value = float(_ratio(total[None])[0])
    if not np.isfinite(value):
        return Score(None, None, None, len(val))
    low, high = bca(_ratio(draws.astype(np.float64) @ counts), value, _ratio(total - counts), len(np.unique(of_val)))
    known = np.isfinite(low)
    return Score(value, low if known else None, high if known else None, len(val))


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
