"""Whether the size of an image predicts its class: then a model can score without using any tissue.

A small decision tree gets width, height, area and aspect ratio alone. Its AUC is out of fold, by group, so it is
not better than on new images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

_FOLDS, _DRAWS, _LEVEL = 5, 200, 0.95


@dataclass(frozen=True)
class SizeLeak:
    """AUC of image size for `label` against the rest, with its 95 % interval over groups (percentile bootstrap)."""

    label: str
    auc: float
    low: float
    high: float


def size_leaks(sizes: npt.NDArray[np.intp], labels: Sequence[str], groups: npt.NDArray[np.intp]) -> list[SizeLeak]:
    """For the second of two classes, or for each of more (one against the rest), from (N, 2) heights and widths in pixels.

    Images of one of the (N,) `groups` stay in one fold. Empty if all images have one size, or some class fewer than five groups.
    """
    names = sorted(set(labels))
    y = np.array([names.index(label) for label in labels], np.intp)
    independent = [len(np.unique(groups[y == number])) for number in range(len(names))]
    if len(np.unique(sizes, axis=0)) < 2 or len(names) < 2 or min(independent) < _FOLDS:
        return []
    height, width = sizes.astype(float).T
    features = np.stack([width, height, width * height, width / height], axis=1)
    # A leaf of 3 % cannot single out the sizes of a few near-duplicates.
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=max(3, round(0.03 * len(y))), random_state=0)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(tree, features, y, groups=groups, cv=folds, method="predict_proba")
    _, unit = np.unique(groups, return_inverse=True)
    n = int(unit.max()) + 1
    rng = np.random.default_rng(0)
    weights = np.stack([np.bincount(rng.integers(0, n, n), minlength=n)[unit] for _ in range(_DRAWS)])
    leaks = []
    for number in [1] if len(names) == 2 else range(len(names)):
        auc, *draws = _auc(y == number, scores[:, number], np.vstack([np.ones(len(y)), weights]))
        low, high = np.nanquantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        leaks.append(SizeLeak(names[number], float(auc), float(low), float(high)))
    return leaks


def _auc(
    positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], weights: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """(D,) areas under the ROC curve for (D, N) weights; NaN for a row without one of the classes.

    A tree gives few different scores, so samples are counted per score, for all rows at once.
    """
    levels, level = np.unique(scores, return_inverse=True)
    which = np.eye(len(levels))[level]  # (N, L)
    positives, negatives = (weights * positive) @ which, (weights * ~positive) @ which  # (D, L)
    wins = positives * (negatives.cumsum(axis=1) - negatives / 2)
    with np.errstate(invalid="ignore"):
        return wins.sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
