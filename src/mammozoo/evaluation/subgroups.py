"""Scores of parts of the images: by a device, a density, a hospital, a data set. They show where a model is worse than on average.

Scores of a few independent groups are imprecise and may identify a person. Below `FEWEST` groups they are not computed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mammozoo.data.joined import SET
from mammozoo.errors import UsageError
from mammozoo.evaluation.intervals import Kind
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import Score
from mammozoo.evaluation.seeds import score_folds
from mammozoo.evaluation.selective import MORE
from mammozoo.evaluation.table_classes import MOST

FEWEST = 10


@dataclass(frozen=True)
class Subgroup:
    """One part: how many samples and groups, and its scores; None if it is too small.

    Scores are among `classes`, those that the data sets of its images have. `absent` counts the images of which another class of
    the model is the most probable, by that class.
    """

    value: str
    n: int
    groups: int
    scores: dict[str, Score] | None
    column: str = ""
    classes: tuple[str, ...] = ()
    absent: dict[str, int] = field(default_factory=dict)


def by_subgroup(predictions: Predictions, column: str, kind: Kind = "bca") -> list[Subgroup]:
    """One entry for each value of a column, in alphabetical order; empty text becomes the part `unknown`.

    A part may be small in every fold, so the folds are pooled. Scores of several repeats are means, as those of a run.

    Raises:
        UsageError: there is no such column, or it has a value of its own for nearly every image.
    """
    values, subgroups = predictions.units(column), []
    names, index = np.unique(values, return_inverse=True)
    if len(names) > MOST:
        raise UsageError(f"The column '{column}' has {len(names):,} values, and subgroups are {MOST} at most.")
    whole = dataclasses.replace(predictions, folds=np.full(len(predictions), ""))
    for place, value in enumerate(names.tolist()):
        part = whole.take(np.flatnonzero(index == place))
        classes = _classes_of_sets(predictions, index == place)
        most = part.by_repeat()[0].outcome.probabilities.argmax(axis=1)
        absent = {name: int((most == k).sum()) for k, name in enumerate(part.outcome.classes) if name not in classes}
        part = part.among(classes)
        first = part.by_repeat()[0].outcome
        groups = len(np.unique(first.groups))
        scores = score_folds(part, kind=kind, more=MORE) if groups >= FEWEST else None
        subgroups.append(Subgroup(value or "unknown", len(first), groups, scores, column, classes, absent))
    return subgroups


def _classes_of_sets(predictions: Predictions, part: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """The classes that the data sets have of which a part's images are; all, where there is one set."""
    outcome = predictions.outcome
    if SET not in predictions.meta:
        return outcome.classes
    sets = predictions.meta[SET]
    there = np.unique(outcome.labels[np.isin(sets, sets[part])])
    return tuple(outcome.classes[k] for k in there) if len(there) > 1 else outcome.classes
