"""Labels, probabilities and decisions of samples: scores are computed from these."""

from __future__ import annotations

from collections.abc import Sequence
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


def confusion_matrix(outcome: Outcome) -> npt.NDArray[np.intp]:
    """(K, K) counts; rows are labels and columns decisions."""
    k = len(outcome.classes)
    return np.bincount(outcome.labels * k + outcome.decisions, minlength=k * k).reshape(k, k)


def among(outcome: Outcome, classes: tuple[str, ...]) -> Outcome:
    """The samples of some of the classes, with their probabilities given that the class is one of these.

    Decisions are for the most probable of them.
    """
    numbers = [outcome.classes.index(name) for name in classes]
    chosen = np.flatnonzero(np.isin(outcome.labels, numbers))
    p = given_classes(outcome.probabilities[chosen], numbers)
    labels = np.argmax(outcome.labels[chosen, None] == numbers, axis=1)
    return Outcome(classes, labels, p, decide(p, 0.5), outcome.groups[chosen])


def given_classes(p: npt.NDArray[np.float64], numbers: Sequence[int]) -> npt.NDArray[np.float64]:
    """(N, K) → (N, k) probabilities of some classes, given that the class is one of them: divided by their sum."""
    kept = p[:, list(numbers)]
    total = kept.sum(axis=1, keepdims=True)
    return np.divide(kept, total, out=np.full_like(kept, 1 / kept.shape[1]), where=total > 0)


def decide(probabilities: npt.NDArray[np.float64], threshold: float | npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """(N, K) → (N,): with two classes the second from `threshold` (one, or (N,)) on, with more the most probable."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.intp)
    return probabilities.argmax(axis=1)
