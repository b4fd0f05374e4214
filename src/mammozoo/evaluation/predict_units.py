"""Predictions for patients or breasts: one probability from those of a unit's images.

A unit has a threshold and a temperature of its own, chosen on the units of the model's validation images. Without these it has
a probability and no label: the threshold of single images is not that of the largest of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.errors import UsageError
from mammozoo.evaluation.evaluate import own_validation
from mammozoo.evaluation.outcome import decide
from mammozoo.evaluation.predict import Prediction
from mammozoo.evaluation.units import divided, joined, own_point
from mammozoo.models.config import ModelConfig


@dataclass(frozen=True)
class UnitPrediction:
    """A patient or breast; `label` is None without a threshold of units, `probabilities` if none of its images has an answer.

    Attributes:
        images: number of images with an answer.
        unanswered: number of images without one.
    """

    unit: str
    label: str | None
    probabilities: dict[str, float] | None
    threshold: float | None
    images: int
    unanswered: int


@dataclass(frozen=True)
class UnitPredictions:
    """Of all units in the order of the table; `remark` says where threshold and temperature come from, or why there is none."""

    by: str
    how: str
    predictions: list[UnitPrediction]
    remark: str


def predict_units(
    predictions: Sequence[Prediction], names: npt.NDArray[np.str_], by: str, how: str, folder: Path, config: ModelConfig
) -> UnitPredictions:
    """One prediction for each unit, from those of its images; an image without a unit is one of its own."""
    binary = len(config.classes) == 2
    try:
        val = own_validation(folder)
        if not len(val):
            raise UsageError("it has no predictions of its validation images beside it.")
        rule, calibrated = (config.threshold or "half") if binary else "", config.calibration is not None
        temperature, cut = own_point(val, by, how, rule=rule, calibrated=calibrated)
        chosen = "Threshold and temperature" if binary else "The temperature"
        remark = f"{chosen} of each {by} {'were' if binary else 'was'} chosen on the {by}s of validation."
        if binary:
            remark = f"Label: {config.classes[1]} from {cut:.3f} on ({rule}). {remark}"
    except UsageError as error:
        temperature, cut = 1.0, float("nan")
        without = (
            f"A {by} has a probability and no label" if binary else f"The probabilities of a {by} are not calibrated"
        )
        remark = f"{without}: the model has no operating point for {by}s. Its validation part: {error}"
    members: dict[str, list[Prediction]] = {}
    for prediction, name in zip(predictions, names.tolist(), strict=True):
        members.setdefault(name or prediction.file, []).append(prediction)
    units = []
    for name, its in members.items():
        rows = [[*one.probabilities.values()] for one in its if one.probabilities is not None]
        if not rows:
            units.append(UnitPrediction(name, None, None, None, 0, len(its)))
            continue
        p = divided(joined(np.array(rows), how)[None], temperature)
        label = config.classes[int(decide(p, cut)[0])] if not binary or cut == cut else None
        answer = dict(zip(config.classes, map(float, p[0]), strict=True))
        threshold = cut if binary and cut == cut else None
        units.append(UnitPrediction(name, label, answer, threshold, len(rows), len(its) - len(rows)))
    return UnitPredictions(by, how, units, remark)
