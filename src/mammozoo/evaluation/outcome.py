"""Labels, probabilities and decisions of samples: scores are computed from these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Outcome:
    """Labels, probabilities and decisions of N samples.

    Attributes:
        classes: K names in output order; of two, the second is the positive one.
        labels: (N,) class numbers.
        probabilities: (N, K), rows sum to 1.
        decisions: (N,) class numbers of the decisions, at the threshold in force.
        groups: (N,) group numbers; samples of one group are not independent.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.intp]
    probabilities: npt.NDArray[np.float64]
    decisions: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def binary(self) -> bool:
        """Whether there are two classes."""
        return len(self.classes) == 2

    def take(self, index: npt.NDArray[np.intp]) -> Outcome:
        """The outcome of the samples at `index`, repeated as `index` repeats them."""
        return Outcome(
            self.classes, self.labels[index], self.probabilities[index], self.decisions[index], self.groups[index]
        )

    def one_against_rest(self, number: int) -> Outcome:
        """The two-class outcome of class `number` against all others."""
        p = self.probabilities[:, number]
        return Outcome(
            ("rest", self.classes[number]),
            (self.labels == number).astype(np.intp),
            np.stack([1 - p, p], axis=1),
            (self.decisions == number).astype(np.intp),
            self.groups,
        )


def decide(probabilities: npt.NDArray[np.float64], threshold: float | npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """(N, K) → (N,): with two classes the second from `threshold` (one, or (N,)) on, with more the most probable."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.intp)
    return probabilities.argmax(axis=1)
