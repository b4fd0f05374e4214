"""From images to lesions and patients: one probability for each unit, from those of its images.

mean       average of the images' probabilities
max        the largest probability of the positive class (two classes only)
noisy-or   1 − Π (1 − p): each image alone may make the unit positive (two classes only)

With two classes a unit is positive if one of its images is: a patient with one malignant lesion is ill.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import Outcome

_OF_POSITIVE: dict[str, Callable[[npt.NDArray[np.float64]], float]] = {
    "mean": lambda p: float(p.mean()),
    "max": lambda p: float(p.max()),
    "noisy-or": lambda p: float(1 - np.prod(1 - p)),
}
HOW = tuple(_OF_POSITIVE)


def aggregate(outcome: Outcome, units: npt.NDArray[np.str_], cuts: npt.NDArray[np.float64], how: str) -> Outcome:
    """The outcome of the units, in the order of first appearance; an image without a unit (empty text) is a unit of its own.

    Args:
        units: (N,) unit of each image.
        cuts: (N,) threshold in force for each image (NaN with more than two classes); a unit's is their mean.

    Raises:
        UsageError: no unit is known; `how` is for two classes only; or, with more classes, the images of a unit have
            different labels.
    """
    if not (units != "").any():
        raise UsageError("These predictions name no such unit; the data set does not know it. Leave --aggregate out.")
    if not outcome.binary and how != "mean":
        raise UsageError(f"--aggregate {how} is for two classes; with {len(outcome.classes)} say --aggregate mean.")
    keys = np.array([unit or f"\0{i}" for i, unit in enumerate(units)])
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    members = [np.flatnonzero(index == unit) for unit in np.argsort(first)]
    labels = np.array([_label(outcome, images, units) for images in members], np.intp)
    if outcome.binary:
        positive = np.array([_OF_POSITIVE[how](outcome.probabilities[images, 1]) for images in members])
        p = np.stack([1 - positive, positive], axis=1)
    else:
        p = np.stack([outcome.probabilities[images].mean(axis=0) for images in members])
    cut = np.array([cuts[images].mean() for images in members])
    decisions = (p[:, 1] >= cut).astype(np.intp) if outcome.binary else p.argmax(axis=1)
    groups = np.array([outcome.groups[images[0]] for images in members], np.intp)
    return Outcome(outcome.classes, labels, p, decisions, groups)


def _label(outcome: Outcome, images: npt.NDArray[np.intp], units: npt.NDArray[np.str_]) -> int:
    labels = outcome.labels[images]
    if not outcome.binary and len(np.unique(labels)) > 1:
        names = " and ".join(outcome.classes[k] for k in np.unique(labels))
        raise UsageError(
            f"'{units[images[0]]}' has images of {names}; with more than two classes mammozoo does not guess which one it is."
        )
    return int(labels.max())
