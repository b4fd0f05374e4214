"""Scores of parts of a test set (a device, a density, a hospital), to see where a model is worse than on average.

Scores of a few independent groups are imprecise and may identify a person. Below `FEWEST` groups they are not
computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.scores import Score, score_all

FEWEST = 10


@dataclass(frozen=True)
class Subgroup:
    """One part: how many samples and groups, and its scores; None if it is too small."""

    value: str
    n: int
    groups: int
    scores: dict[str, Score] | None


def by_subgroup(outcome: Outcome, values: npt.NDArray[np.str_], *, seed: int = 0) -> list[Subgroup]:
    """One entry for each of the (N,) values, in alphabetical order; empty text becomes the part `unknown`."""
    subgroups = []
    for value in sorted(set(values.tolist())):
        part = outcome.take(np.flatnonzero(values == value))
        groups = len(np.unique(part.groups))
        scores = score_all(part, seed=seed) if groups >= FEWEST else None
        subgroups.append(Subgroup(value or "unknown", len(part), groups, scores))
    return subgroups
