"""What is chosen on validation data for decisions: a threshold by one of these rules, and a band in which to abstain.

half                0.5
closest-to-corner   least distance to (FPR 0, TPR 1), as in Byra 2021
youden              greatest TPR − FPR (Youden 1950)
sensitivity:x       the highest specificity among the thresholds with a sensitivity of x or more
specificity:x       the highest sensitivity among the thresholds with a specificity of x or more

The band around the threshold holds a share of the validation images: selective classification by the model's own
confidence (El-Yaniv & Wiener, JMLR 11, 2010). It shows how near a decision is to the threshold. It does not recognise
images of another kind, on which a model can be certain and wrong.

Reading a recipe needs this module, so heavy libraries are imported inside the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import parse
from mammozoo.errors import UsageError, nearest

if TYPE_CHECKING:
    from mammozoo.models.config import Abstention

#: Stored with every model of two classes; a recipe may add `sensitivity` and `specificity` with other numbers.
RULES = ("closest-to-corner", "youden", "half", "sensitivity:0.9", "specificity:0.9")
_BOUNDED = ("sensitivity", "specificity")
SHARE = 0.2  #: of the validation images that the band holds
_NEAREST = 1e-7  # smallest distance of a probability to 0 and 1, so that every margin is finite


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
    from sklearn.metrics import roc_curve

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


def margin(probabilities: npt.NDArray[np.float64], cut: float) -> npt.NDArray[np.float64]:
    """(N, K) → (N,): how far a decision is from the other one.

    With two classes |logit p − logit `cut`|, with more the lead of the most probable class over the second (no `cut`).
    """
    if probabilities.shape[1] == 2:
        from scipy.special import logit

        p = np.clip(probabilities[:, 1].astype(np.float64), _NEAREST, 1 - _NEAREST)
        return np.asarray(np.abs(logit(p) - logit(np.clip(cut, _NEAREST, 1 - _NEAREST))))
    ranked = np.sort(probabilities, axis=1)
    return np.asarray(ranked[:, -1] - ranked[:, -2], np.float64)


def choose_abstention(probabilities: npt.NDArray[np.float64], cut: float, share: float = SHARE) -> Abstention:
    """The band that holds `share` of the validation images with these (N, K) probabilities.

    Its edge lies in the middle between two images, so that rounding does not matter.

    Raises:
        UsageError: there are no images, or `share` is not between 0 and 1.
    """
    from mammozoo.models.config import Abstention

    if not 0 < share < 1:
        raise UsageError(f"The share of images to abstain on lies between 0 and 1; got {share:g}.")
    if not len(probabilities):
        raise UsageError("There is no validation image to choose the uncertain band on.")
    ranked = np.sort(margin(probabilities, cut))
    inside = min(round(share * len(ranked)), len(ranked) - 1)
    edge = float(ranked[inside - 1] + ranked[inside]) / 2 if inside else 0.0
    return Abstention(margin=edge, share=share, chosen_on="validation")


def abstains(probabilities: npt.NDArray[np.float64], cut: float, abstention: Abstention) -> npt.NDArray[np.bool_]:
    """(N, K) → (N,): True inside the band."""
    return margin(probabilities, cut) < abstention.margin
