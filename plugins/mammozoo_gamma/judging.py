"""The paper's AUC of one operating point, and its rule that rejects an overfitted model.

Equation 13 calls AUC the area under the ROC curve of a single operating point: ½ · (1 + TPR − FPR), the mean of sensitivity and
specificity. It says nothing about other thresholds. Here it is `auc-one-point`, beside the real `auc`.

Part 4.3.3: "If the difference between train accuracy and test accuracy is over 10%, we consider that overfitting has
occurred and the model is rejected." Equation 7, β, is every run's score `beta`.
"""

from __future__ import annotations

import numpy as np

from mammozoo import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values, share
from mammozoo.evaluation.scores import accuracy_gap

PAPER = "falconi-2020"
MOST = 0.10  #: accuracy that a model may lose from its training part to its test part


def auc_one_point(outcome: Outcome) -> float:
    """½ · (1 + TPR − FPR) at the threshold in force; NaN if a class is missing."""
    positive = outcome.labels == 1
    if positive.all() or not positive.any():
        return float("nan")
    called = outcome.decisions == 1
    return float((1 + called[positive].mean() - called[~positive].mean()) / 2)


def _resampled(draws: Resamples) -> Values:
    recalls = share(np.diagonal(draws.confusion, axis1=1, axis2=2), draws.confusion.sum(axis=2))
    return recalls.mean(axis=1)


ONE_POINT = Metric(
    "auc-one-point",
    "area under the ROC curve of one threshold (Falconí 2020)",
    auc_one_point,
    _resampled,
    overall=False,
    of_decisions=True,
)


def rejection(train: Outcome, test: Outcome) -> str | None:
    """Why the paper would reject the model with these outcomes; None if it would not."""
    if not len(train) or not len(test):
        return None
    gap = accuracy_gap(train, test)
    if gap.value is None or gap.value <= MOST + 1e-9:  # 0.8 - 0.7 is a little above 0.1
        return None
    return (
        f"overfitted: accuracy falls by {100 * gap.value:.0f} points from the training part to the test part, and above "
        f"{100 * MOST:.0f} Falconí 2020 rejects a model"
    )
