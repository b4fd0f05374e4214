"""Where to cut a probability in two: rules that look at validation data only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

from mammozoo.errors import UsageError, nearest

RULES = ("closest-to-corner", "youden", "half")


def choose_threshold(rule: str, labels: npt.NDArray[np.intp], positive: npt.NDArray[np.float64]) -> float:
    """The threshold that `rule` takes from (N,) 0/1 labels and probabilities of the positive class.

    `closest-to-corner` minimises the distance to (FPR 0, TPR 1) as in Byra 2021, `youden` maximises TPR − FPR,
    `half` is 0.5. Between two neighbouring probabilities the middle is taken, so that rounding decides nothing.
    With one class only there is nothing to choose from, and the answer is 0.5.
    """
    if rule not in RULES:
        raise UsageError(f"Unknown threshold rule '{rule}'.{nearest(rule, RULES)} There are {', '.join(RULES)}.")
    if rule == "half" or len(np.unique(labels)) < 2:
        return 0.5
    fpr, tpr, cuts = roc_curve(labels, positive, drop_intermediate=False)
    cost = fpr**2 + (1 - tpr) ** 2 if rule == "closest-to-corner" else fpr - tpr
    cut = float(cuts[np.argmin(cost)])
    if not np.isfinite(cut):
        return 0.5
    below = positive[positive < cut]
    return (cut + float(below.max())) / 2 if len(below) else cut
