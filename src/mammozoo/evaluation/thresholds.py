"""Decision thresholds: rules that choose one on validation data.

half                0.5
closest-to-corner   least distance to (FPR 0, TPR 1), as in Byra 2021
youden              greatest TPR − FPR (Youden 1950)
sensitivity:x       the highest specificity among the thresholds with a sensitivity of x or more
specificity:x       the highest sensitivity among the thresholds with a specificity of x or more
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

from mammozoo.config.names import parse
from mammozoo.errors import UsageError, nearest

#: Stored with every model of two classes; a recipe may add `sensitivity` and `specificity` with other numbers.
RULES = ("closest-to-corner", "youden", "half", "sensitivity:0.9", "specificity:0.9")
_BOUNDED = ("sensitivity", "specificity")


def check_rule(rule: str) -> str:
    """The rule as it is stored.

    Raises:
        UsageError: unknown rule, or a number that is not between 0 and 1.
    """
    spec = parse(rule)
    if spec.name not in _BOUNDED:
        if rule not in RULES:
            raise UsageError(f"Unknown threshold rule '{rule}'.{nearest(rule, RULES)} There are {', '.join(RULES)}.")
        return rule
    try:
        (bound,) = (float(text) for text in spec.arguments)
    except ValueError:
        bound = -1.0
    if spec.options or not 0 < bound <= 1:
        raise UsageError(
            f"Threshold rule '{rule}': say {spec.name}:x with x above 0 and up to 1, as in {spec.name}:0.9."
        )
    return f"{spec.name}:{bound:g}"


def choose_threshold(rule: str, labels: npt.NDArray[np.intp], positive: npt.NDArray[np.float64]) -> float:
    """The threshold that `rule` takes from (N,) 0/1 labels and probabilities of the positive class.

    The threshold lies in the middle between two neighbouring probabilities, so that rounding does not matter. It is 0.5 if
    the labels are of one class.
    """
    rule = check_rule(rule)
    if rule == "half" or len(np.unique(labels)) < 2:
        return 0.5
    fpr, tpr, cuts = roc_curve(labels, positive, drop_intermediate=False)
    cut = float(cuts[np.argmin(_cost(rule, fpr, tpr))])
    if not np.isfinite(cut):
        return 1.0 if rule.startswith(_BOUNDED) else 0.5
    below = positive[positive < cut]
    return (cut + float(below.max())) / 2 if len(below) else cut


def _cost(rule: str, fpr: npt.NDArray[np.float64], tpr: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T,) the cost that the rule minimises, for each point of the ROC curve."""
    cost: npt.NDArray[np.float64]
    match rule.partition(":"):
        case ("sensitivity", _, bound):
            cost = np.where(tpr >= float(bound) - 1e-12, fpr, np.inf)
        case ("specificity", _, bound):
            cost = np.where(1 - fpr >= float(bound) - 1e-12, 1 - tpr, np.inf)
        case ("youden", _, _):
            cost = fpr - tpr
        case _:
            cost = fpr**2 + (1 - tpr) ** 2
    return cost
