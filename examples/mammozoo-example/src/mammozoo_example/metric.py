"""A metric: Youden's index, sensitivity + specificity − 1 (Youden 1950, Cancer 3:32)."""

from __future__ import annotations

import numpy as np
from mammozoo import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values, share


def youden(outcome: Outcome) -> float:
    """1 for a perfect test, 0 for a coin; NaN where a class is missing."""
    if len(np.unique(outcome.labels)) < 2:
        return float("nan")
    right = outcome.decisions == outcome.labels
    return float(right[outcome.labels == 1].mean() + right[outcome.labels == 0].mean() - 1)


def _youdens(draws: Resamples) -> Values:
    """(B,) the same of each bootstrap draw at once, for the 95 % interval. May be left out: it is then only slower."""
    right = np.diagonal(draws.confusion, axis1=1, axis2=2)
    return share(right, draws.confusion.sum(axis=2)).sum(axis=1) - 1


#: `overall=False`: it is a score of two classes; `per_class`: of more, one for each class against the rest.
YOUDEN = Metric("example-youden", "sensitivity + specificity − 1", youden, _youdens, overall=False, per_class=True)
