"""When a model abstains: inside the band around its threshold that holds a share of the validation images.

Selective classification by the model's own confidence (El-Yaniv & Wiener, JMLR 11, 2010). The band shows how near
a decision is to the threshold. It does not recognise images of another kind, on which a model can be certain and wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from mammozoo.errors import UsageError
from mammozoo.models.config import Abstention

SHARE = 0.2
_NEAREST = 1e-7  # smallest distance of a probability to 0 and 1, so that every margin is finite


def margin(probabilities: npt.NDArray[np.float64], cut: float) -> npt.NDArray[np.float64]:
    """(N, K) → (N,): how far a decision is from the other one.

    With two classes |logit p − logit `cut`|, with more the lead of the most probable class over the second (no `cut`).
    """
    if probabilities.shape[1] == 2:
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
