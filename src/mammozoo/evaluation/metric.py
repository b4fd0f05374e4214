"""A score by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values

#: What is printed after a score that chooses its operating point on the images that it scores.
CHOSEN_ON_TEST = " (point chosen on test)"


def printed(name: str) -> str:
    """The name of a score for people: with a mark where it rests on an operating point chosen on the scored images."""
    return name + CHOSEN_ON_TEST if "@" in name else name


@dataclass(frozen=True)
class Metric:
    """A score by name.

    Attributes:
        name: key in `scores.json` and in recipes' `monitor`. An `@` says that the score chooses its operating point on the
            very images that it scores, as `sensitivity@90specificity` does; it is marked wherever it is printed.
        summary: one line.
        value: the score of an outcome; NaN if it is undefined (one class only).
        resampled: (B,) the same score of each of B bootstrap draws. Makes the interval cheap; without it `value` is
            called for each draw.
        overall: whether there is one score for all classes; False for a score of two classes only.
        per_class: whether more than two classes have a score each against the rest, `name[class]`.
        higher_is_better: the direction in which a model improves.
        among: (N,) bool, of a proportion: the samples that it is a share of, such as the positive ones of a sensitivity.
            Its n counts them, and 0 or 1 has an exact interval on their groups. None for other scores, whose n is N.
        of_decisions: whether it reads labels and decisions and no probability, so that hard labels are enough for it.
    """

    name: str
    summary: str
    value: Callable[[Outcome], float]
    resampled: Callable[[Resamples], Values] | None = None
    overall: bool = True
    per_class: bool = False
    higher_is_better: bool = True
    among: Callable[[Outcome], npt.NDArray[np.bool_]] | None = None
    of_decisions: bool = False

    def keys(self, classes: tuple[str, ...]) -> dict[str, int | None]:
        """Its names among the scores of these classes → the class to score against the rest, None for all classes."""
        overall: dict[str, int | None] = {self.name: None} if self.overall or len(classes) == 2 else {}
        if not self.per_class or len(classes) == 2:
            return overall
        return overall | {f"{self.name}[{label}]": number for number, label in enumerate(classes)}

    def count(self, outcome: Outcome) -> int:
        """n: how many samples of the outcome the score is about."""
        return len(outcome) if self.among is None else int(self.among(outcome).sum())
