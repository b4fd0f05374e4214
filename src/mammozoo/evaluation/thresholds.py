"""What is chosen on validation data: a decision threshold by a rule, a temperature, and a band in which to abstain.

half                0.5
closest-to-corner   least distance to (FPR 0, TPR 1), as in Byra 2021
youden              greatest TPR − FPR (Youden 1950)
sensitivity:x       the highest specificity among the thresholds with a sensitivity of x or more
specificity:x       the highest sensitivity among the thresholds with a specificity of x or more

Temperature scaling is one number by which probabilities come to agree with frequencies (Guo et al. 2017).

The band around the threshold holds a share of the validation images: selective classification by the model's own
confidence (El-Yaniv & Wiener, JMLR 11, 2010). It shows how near a decision is to the threshold. It does not recognise
images of another kind, on which a model can be certain and wrong.

Reading a recipe needs this module, so heavy libraries are imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import parse
from mammozoo.errors import UsageError, nearest

if TYPE_CHECKING:
    import torch

    from mammozoo.models.config import Abstention

Values = npt.NDArray[np.float64]
#: Stored with every model of two classes; a recipe may add `sensitivity` and `specificity` with other numbers.
RULES = ("closest-to-corner", "youden", "half", "sensitivity:0.9", "specificity:0.9")
#: Name → the cost that the rule minimises, of (T,) false- and true-positive rates and the rule's number.
_COSTS: dict[str, Callable[[Values, Values, float], Values]] = {
    "closest-to-corner": lambda fpr, tpr, _: fpr**2 + (1 - tpr) ** 2,
    "youden": lambda fpr, tpr, _: fpr - tpr,
    "sensitivity": lambda fpr, tpr, least: np.where(tpr >= least - 1e-12, fpr, np.inf),
    "specificity": lambda fpr, tpr, least: np.where(1 - fpr >= least - 1e-12, 1 - tpr, np.inf),
}
_BOUNDED = ("sensitivity", "specificity")
#: Without limits, a small validation part that is classified without error would give a temperature of zero.
LOWEST, HIGHEST = 0.5, 10.0
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
    name, _, least = rule.partition(":")
    fpr, tpr, cuts = roc_curve(labels, positive, drop_intermediate=False)
    cut = float(cuts[np.argmin(_COSTS[name](fpr, tpr, float(least or 0)))])
    if not np.isfinite(cut):
        return 1.0 if rule.startswith(_BOUNDED) else 0.5
    below = positive[positive < cut]
    return (cut + float(below.max())) / 2 if len(below) else cut


def fit_temperature(logits: torch.Tensor, labels: npt.NDArray[np.intp]) -> float:
    """The temperature with the smallest log loss of (N, outputs) logits on (N,) labels; 1 if the labels are of one class.

    The order of the probabilities within one model stays, so its AUC does not change; with two classes, 0.5 stays 0.5.
    """
    from scipy.optimize import minimize_scalar
    from sklearn.metrics import log_loss

    from mammozoo.models.model import probabilities

    if len(np.unique(labels)) < 2:
        return 1.0
    classes = range(max(2, logits.shape[1]))

    def loss(log_temperature: float) -> float:
        p = probabilities(logits, float(np.exp(log_temperature)))
        return float(log_loss(labels, p.numpy(), labels=classes))

    optimum = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(optimum.x))


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
