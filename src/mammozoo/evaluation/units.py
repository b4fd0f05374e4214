"""Patients, breasts and lesions: one probability for each unit, from those of its images, with an operating point of its own.

mean       average of the images' probabilities
max        the largest probability of the positive class (two classes only)
noisy-or   1 − Π (1 − p): each image alone may make the unit positive (two classes only)

With two classes a unit is positive if one of its images is: a patient with one malignant lesion is ill.

The largest of four probabilities is higher than one of them, so the temperature and the threshold of single images do not fit
units. Each fold's validation images are joined to units as its test images are. The temperature is fitted on the log odds of
these units, and the threshold chosen on them by the same rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.thresholds import choose_threshold, fit_temperature
from mammozoo.models.model import probabilities

ENOUGH = 10  #: independent units from which on an operating point is chosen on them
_OF_POSITIVE: dict[str, Callable[[npt.NDArray[np.float64]], float]] = {
    "mean": lambda p: float(p.mean()),
    "max": lambda p: float(p.max()),
    "noisy-or": lambda p: float(1 - np.prod(1 - p)),
}
HOW = tuple(_OF_POSITIVE)


@dataclass(frozen=True)
class Units:
    """Predictions of patients or lesions.

    Attributes:
        predictions: a row for each unit of each fold.
        temperatures: one for each fold, by which the units' log odds are divided; empty if none was fitted on units.
        remark: why temperature and threshold are those of single images; empty if they were chosen on units.
    """

    predictions: Predictions
    temperatures: tuple[float, ...] = ()
    remark: str = ""


def at_own_point(test: Predictions, val: Predictions, by: str, how: str, *, rule: str, calibrated: bool) -> Units:
    """The units of the test images, in each fold at the operating point chosen on the units of its validation images.

    If one fold has too few of them, none of a class, or no validation images, all folds keep the images' operating points.

    Args:
        val: the validation rows of the folds in `test`, or of the inner models of its outer folds.
        by: `patient`, `breast` or `lesion`.
        rule: that of the threshold; empty with more than two classes.
        calibrated: whether a temperature is fitted.

    Raises:
        UsageError: as `aggregate`, of the test images.
    """
    units = aggregate(test, by, how)
    p, cuts, temperatures = units.outcome.probabilities.copy(), units.cuts.copy(), list[float]()
    for fold in np.unique(units.folds).tolist():
        mine = units.folds == fold
        try:
            validation = _validation(val, fold, units.repeats[mine][0])
            temperature, cut = own_point(validation, by, how, rule=rule, calibrated=calibrated)
        except UsageError as error:
            where = "" if fold == "all" else f" of {fold}"
            return Units(
                units, (), f"Threshold and temperature are those of single images. Validation part{where}: {error}"
            )
        temperatures.append(temperature)
        p[mine], cuts[mine] = divided(p[mine], temperature), cut
    outcome = dataclasses.replace(units.outcome, probabilities=p, decisions=decide(p, cuts))
    return Units(dataclasses.replace(units, outcome=outcome, cuts=cuts), tuple(temperatures) if calibrated else ())


def own_point(val: Predictions, by: str, how: str, *, rule: str, calibrated: bool) -> tuple[float, float]:
    """(temperature, threshold) chosen on the units of these validation rows; the threshold is NaN if there is no rule for one.

    Raises:
        UsageError: as `aggregate`, or too few units, or none of a class; the message says so of `it`.
    """
    chosen = aggregate(val, by, how).outcome
    _refuse_few(chosen, by)
    temperature = fit_temperature(_log(chosen.probabilities), chosen.labels) if calibrated else 1.0
    if not rule:
        return temperature, float("nan")
    return temperature, choose_threshold(rule, chosen.labels, divided(chosen.probabilities, temperature)[:, 1])


def joined(p: npt.NDArray[np.float64], how: str) -> npt.NDArray[np.float64]:
    """(n, K) probabilities of a unit's images → its (K,) own; with more than two classes `how` is `mean`."""
    if p.shape[1] > 2:
        return np.asarray(p.mean(axis=0))
    positive = _OF_POSITIVE[how](p[:, 1])
    return np.array([1 - positive, positive])


def check_how(how: str, classes: tuple[str, ...]) -> None:
    """Raise UsageError if images of a model of these classes cannot be aggregated so."""
    if how not in HOW:
        raise UsageError(f"--aggregate is {', '.join(HOW)}, not '{how}'.")
    if len(classes) > 2 and how != "mean":
        raise UsageError(f"--aggregate {how} is for two classes; with {len(classes)} use --aggregate mean.")


def aggregate(images: Predictions, by: str, how: str) -> Predictions:
    """A row for each unit of each fold, in the order of first appearance; an image without a unit is a unit of its own.

    `samples` are the names of the units. Folds have thresholds of their own, so their images are not joined.

    Raises:
        UsageError: no unit is known; `how` is for two classes only; or, with more classes, the images of a unit have
            different labels.
    """
    outcome, names = images.outcome, images.units(by)
    if not (names != "").any():
        raise UsageError(f"No image names its {by}, so there is nothing to aggregate.")
    check_how(how, outcome.classes)
    found: dict[tuple[str, str | int], list[int]] = {}
    for place, (fold, name) in enumerate(zip(images.folds.tolist(), names.tolist(), strict=True)):
        found.setdefault((fold, name or place), []).append(place)
    members = list(found.values())
    for places in members:
        labels = np.unique(outcome.labels[places])
        if not outcome.binary and len(labels) > 1:
            raise UsageError(
                f"'{names[places[0]]}' has images of {' and '.join(outcome.classes[k] for k in labels)}; with more than two "
                "classes mammozoo does not guess which one it is."
            )
    p = np.stack([joined(outcome.probabilities[places], how) for places in members])
    first = np.array([places[0] for places in members])
    units = images.take(first)
    labels = np.array([outcome.labels[places].max() for places in members], np.intp)
    of_units = Outcome(outcome.classes, labels, p, decide(p, units.cuts), units.outcome.groups)
    return dataclasses.replace(
        units, samples=np.where(names[first] == "", units.samples, names[first]), outcome=of_units
    )


def _validation(val: Predictions, fold: str, repeat: str) -> Predictions:
    """The validation rows of a fold; of an outer fold those of its inner models, whose names begin with its own.

    Raises:
        UsageError: there is none.
    """
    own = val.folds == fold
    if not own.any():
        own = np.char.startswith(val.folds, f"{fold.partition('/')[0]}/") & (val.repeats == repeat)
    if not own.any():
        raise UsageError("there are no predictions of it.")
    return val.take(np.flatnonzero(own))


def _refuse_few(units: Outcome, by: str) -> None:
    """Raise UsageError if nothing can be chosen on these units."""
    if (groups := len(np.unique(units.groups))) < ENOUGH:
        raise UsageError(f"it has {groups} independent {by}s, and {ENOUGH} are needed.")
    for number, name in enumerate(units.classes):
        if not (units.labels == number).any():
            raise UsageError(f"it has no {by} of class {name}.")


def _log(p: npt.NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.log(np.clip(p, np.finfo(np.float64).eps, 1)))


def divided(p: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """(N, K) probabilities whose log odds are divided by the temperature."""
    return p if temperature == 1 else np.asarray(probabilities(_log(p), temperature).numpy())
