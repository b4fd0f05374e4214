"""Temperature and threshold chosen anew on a hospital's own images, and what to expect of it by repeated splits of them.

Of N images, n (whole patients) choose and the others are scored, 100 times for each n: so it shows how much n images tell. What is
handed over is chosen on all N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit

from mammozoo.errors import UsageError
from mammozoo.evaluation.thresholds import HIGHEST, LOWEST, choose_threshold
from mammozoo.progress import Progress

#: Numbers of images that choose, as far as as many are left to be scored; and random splits for each.
SIZES, SPLITS = (25, 50, 100, 200), 100
LEAST = 10  #: images of each class
_RANGE = (2.5, 97.5)  # percentiles over the splits

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Point:
    """How the logit of a model of two classes becomes a decision: divided by `temperature`, and positive from `cut` on."""

    temperature: float
    cut: float

    @classmethod
    def chosen(cls, logits: Values, labels: Counts, rule: str) -> Point:
        """The temperature with the least log loss of (N,) logits, as `fit_temperature`, and the threshold that the rule takes."""

        # `fit_temperature` takes thirty times as long, which 400 splits feel.
        def loss(log_temperature: float) -> float:
            return float(np.logaddexp(0, towards / np.exp(log_temperature)).mean())

        towards = np.where(labels == 1, -logits, logits)
        one_class = len(np.unique(labels)) < 2
        found = 0.0 if one_class else minimize_scalar(loss, bounds=np.log((LOWEST, HIGHEST)), method="bounded").x
        temperature = float(np.exp(found))
        return cls(temperature, choose_threshold(rule, labels, expit(logits / temperature)))

    def scored(self, logits: Values, labels: Counts) -> tuple[float, float, float]:
        """Sensitivity, specificity and log loss on images of both classes."""
        p = expit(logits / self.temperature)
        right = (p >= self.cut) == (labels == 1)
        loss = -np.log(np.where(labels == 1, p, 1 - p).clip(1e-15)).mean()
        return float(right[labels == 1].mean()), float(right[labels == 0].mean()), float(loss)


@dataclass(frozen=True)
class Expected:
    """Scores on images that did not choose: mean, and range of 95 % of the splits; `before` are the model's own on the same images.

    Attributes:
        images: number that chose.
        after, before: (sensitivity, specificity, log loss), means.
        low, high: ends of the ranges of `after`.
        worth: whether both the log loss and the distance from what the rule asks for are on average not larger than before.
    """

    images: int
    after: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    before: tuple[float, ...]
    worth: bool


def expectations(
    logits: Values, labels: Counts, groups: Counts, own: Point, rule: str, progress: Progress, seed: int = 0
) -> list[Expected]:
    """For each of `SIZES` of which twice as many (N,) logits are there; splits are by (N,) groups.

    Raises:
        UsageError: fewer than `LEAST` images of a class.
    """
    counts = np.bincount(labels, minlength=2)
    if counts.min() < LEAST:
        raise UsageError(
            f"There are {counts[0]} negative and {counts[1]} positive images; at least {LEAST} of each are needed."
        )
    rng = np.random.default_rng(seed)
    sizes = [size for size in SIZES if 2 * size <= len(labels)]
    progress.start("splitting", SPLITS * len(sizes))
    found = []
    for size in sizes:
        rows: list[tuple[tuple[float, ...], tuple[float, ...]]] = []
        for _ in range(SPLITS):
            progress.advance()
            chosen = _drawn(groups, size, rng)
            if len(np.unique(labels[~chosen])) == 2:
                point = Point.chosen(logits[chosen], labels[chosen], rule)
                rows.append(tuple(one.scored(logits[~chosen], labels[~chosen]) for one in (point, own)))  # type: ignore[arg-type]
        if rows:
            found.append(_summary(size, np.array(rows), rule))
    return found


def _drawn(groups: Counts, size: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """(N,) True for random whole groups with `size` images or a few more."""
    names, of = np.unique(groups, return_inverse=True)
    order = rng.permutation(len(names))
    enough = int(np.searchsorted(np.bincount(of)[order].cumsum(), size)) + 1
    return np.isin(of, order[:enough])


def _summary(size: int, rows: Values, rule: str) -> Expected:
    """Of (splits, 2, 3): after and before, each with sensitivity, specificity and log loss."""
    name, _, least = rule.partition(":")
    asked = {"sensitivity": rows[:, :, 0], "specificity": rows[:, :, 1]}.get(name)
    # A rule that promises a rate is to keep it; the others make both rates high.
    miss = np.abs(asked - float(least)) if asked is not None else 1 - rows[:, :, :2].mean(axis=2)
    loss = rows[:, :, 2].mean(axis=0)
    worth = bool(loss[0] <= loss[1] and miss[:, 0].mean() <= miss[:, 1].mean())
    after, before = rows[:, 0], rows[:, 1]
    ends = np.percentile(after, _RANGE, axis=0)
    low, high = (tuple(map(float, end)) for end in ends)
    return Expected(
        size, tuple(map(float, after.mean(axis=0))), low, high, tuple(map(float, before.mean(axis=0))), worth
    )


def verdict(found: Sequence[Expected]) -> str:
    """In words, from how many images on it is worth it, or that it is not."""
    if not found:
        return f"Too few images to say what to expect: {2 * SIZES[0]} are the least."
    worth = [one.images for place, one in enumerate(found) if all(later.worth for later in found[place:])]
    if worth:
        return (
            f"Worth it from {worth[0]} images on: then neither the log loss nor the distance from what the rule asks for is larger "
            "than with the model's own point, on images that did not choose."
        )
    return (
        f"Not worth it with up to {found[-1].images} images: on images that did not choose, the model's own point has a smaller "
        "log loss or is nearer to what the rule asks for."
    )
