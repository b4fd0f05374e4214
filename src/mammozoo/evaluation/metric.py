"""A score by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Resamples, Values


@dataclass(frozen=True)
class Metric:
    """A score by name.

    Attributes:
        name: key in `scores.json` and in recipes' `monitor`.
        summary: one line.
        value: the score of an outcome; NaN if it is undefined (one class only).
        resampled: (B,) the same score of each of B bootstrap draws. Makes the interval cheap; without it `value` is
            called for each draw.
        overall: whether there is one score for all classes; False for a score of two classes only.
        per_class: whether more than two classes have a score each against the rest, `name[class]`.
        higher_is_better: the direction in which a model improves.
    """

    name: str
    summary: str
    value: Callable[[Outcome], float]
    resampled: Callable[[Resamples], Values] | None = None
    overall: bool = True
    per_class: bool = False
    higher_is_better: bool = True

    def keys(self, classes: tuple[str, ...]) -> dict[str, int | None]:
        """Its names among the scores of these classes → the class to score against the rest, None for all classes."""
        overall: dict[str, int | None] = {self.name: None} if self.overall or len(classes) == 2 else {}
        if not self.per_class or len(classes) == 2:
            return overall
        return overall | {f"{self.name}[{label}]": number for number, label in enumerate(classes)}
