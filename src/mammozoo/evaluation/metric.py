"""A score by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.outcome import Outcome


@dataclass(frozen=True)
class Metric:
    """A score by name.

    Attributes:
        name: key in `scores.json` and in recipes' `monitor`.
        summary: one line.
        value: the score of an outcome; NaN where it is undefined (one class only).
        resampled: (outcome, weights (B, N)) → (B,) the same score when sample i counts `weights[b, i]` times. Makes
            the bootstrap fast; without it `value` is called for each draw.
        overall: given once for all classes; False for a score that only two classes have.
        per_class: with more than two classes given for each against the rest, as `name[class]`.
        higher_is_better: the direction in which a model improves.
    """

    name: str
    summary: str
    value: Callable[[Outcome], float]
    resampled: Callable[[Outcome, npt.NDArray[np.float64]], npt.NDArray[np.float64]] | None = None
    overall: bool = True
    per_class: bool = False
    higher_is_better: bool = True
