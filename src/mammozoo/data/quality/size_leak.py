"""Does the size of an image give its class away? Then a model can score without looking at any tissue.

A small decision tree sees width, height, area and aspect ratio alone. Its AUC is out of fold, by group, so that it is
no better than it would be on new images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

_FOLDS = 5
_DRAWS = 200
_LEVEL = 0.95


@dataclass(frozen=True)
class SizeLeak:
    """AUC of image size for `label` against the rest, with its 95 % interval over groups (percentile bootstrap)."""

    label: str
    auc: float
    low: float
    high: float


def size_leaks(
    sizes: npt.NDArray[np.intp], labels: Sequence[str], groups: npt.NDArray[np.intp], seed: int = 0
) -> list[SizeLeak]:
    """For the second of two classes, or for each of more (one against the rest); empty where nothing can be measured.

    Nothing can be measured when all images have one size, or some class has fewer than five groups.

    Args:
        sizes: (N, 2) height and width in pixels.
        labels: N names of classes.
        groups: (N,) group numbers; images of one group stay in one fold.
    """
    names = sorted(set(labels))
    y = np.array([names.index(label) for label in labels], np.intp)
    if len(np.unique(sizes, axis=0)) < 2 or len(names) < 2:
        return []
    if min(len(np.unique(groups[y == number])) for number in range(len(names))) < _FOLDS:
        return []
    height, width = sizes.astype(float).T
    features = np.stack([width, height, width * height, width / height], axis=1)
    # A leaf of 3 % cannot single out the sizes of a few near-duplicates.
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=max(3, round(0.03 * len(y))), random_state=seed)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(tree, features, y, groups=groups, cv=folds, method="predict_proba")
    chosen = [1] if len(names) == 2 else range(len(names))
    return [_leak(names[number], y == number, scores[:, number], groups, seed) for number in chosen]


def _leak(
    label: str,
    positive: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    groups: npt.NDArray[np.intp],
    seed: int,
) -> SizeLeak:
    rng = np.random.default_rng(seed)
    _, group = np.unique(groups, return_inverse=True)
    n = int(group.max()) + 1
    draws = []
    for _ in range(_DRAWS):
        times = np.bincount(rng.integers(0, n, n), minlength=n)[group]
        kept = times > 0
        if len(np.unique(positive[kept])) == 2:
            draws.append(roc_auc_score(positive[kept], scores[kept], sample_weight=times[kept]))
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return SizeLeak(label, float(roc_auc_score(positive, scores)), float(low), float(high))
