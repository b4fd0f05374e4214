"""What probabilities are worth in use: their calibration line, predictive values elsewhere, and sets that hold the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, logit

from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import Score, finite_score, mean

#: Shares of sets that are to hold the truth.
LEVELS = (0.9, 0.95)
_NEAREST = 1e-6  # to 0 and 1, of a probability whose logit is taken

Values = npt.NDArray[np.float64]


def calibration_line(outcome: Outcome) -> dict[str, Score | None] | None:
    """Slope and intercept of the truth over the logit, by logistic regression, and the intercept alone at slope 1.

    The first two are 1 and 0 of right probabilities; a slope below 1 says over-confident ones. `in_the_large` is above 0 where
    they are too low on the whole. Each is None where the data bound it not: one class, or classes that the logit separates. None
    for more than two classes. Intervals are 95 %, by the variance that is robust to images of one group (Liang & Zeger 1986).
    """
    if len(outcome.classes) != 2:
        return None
    y, z = outcome.labels.astype(float), logit(outcome.probabilities[:, 1].clip(_NEAREST, 1 - _NEAREST))
    line: dict[str, Score | None] = {"slope": None, "intercept": None, "in_the_large": None}
    if not 0 < y.sum() < len(y):
        return line
    _, group = np.unique(outcome.groups, return_inverse=True)
    ones = np.ones((len(y), 1))
    (line["in_the_large"],) = _fit(ones, z, y, group)
    ill, well = z[y == 1], z[y == 0]
    if np.ptp(z) > 0 and not (well.max() <= ill.min() or ill.max() <= well.min()):
        line["intercept"], line["slope"] = _fit(np.column_stack([ones, z]), np.zeros(len(y)), y, group)
    return line


def _fit(design: Values, offset: Values, y: Values, group: npt.NDArray[np.intp]) -> list[Score]:
    """The coefficients of a logistic regression by maximum likelihood, with intervals by group."""

    def loss(b: Values) -> tuple[float, Values]:
        linear = design @ b + offset
        return float(np.mean(np.logaddexp(0, linear) - y * linear)), design.T @ (expit(linear) - y) / len(y)

    found = minimize(loss, np.zeros(design.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    p, groups = expit(design @ found + offset), int(group.max()) + 1
    of_group = np.stack([np.bincount(group, column * (y - p)) for column in design.T], axis=1)
    bread = np.linalg.pinv(design.T @ (design * (p * (1 - p))[:, None]))
    error = np.sqrt(np.diag(bread @ of_group.T @ of_group @ bread) * groups / max(groups - 1, 1))
    half = error * stats.t.ppf(0.975, groups - 1) if groups > 1 else np.full(len(found), np.nan)
    return [
        finite_score(value, (value - width, value + width), len(y)) for value, width in zip(found, half, strict=True)
    ]


def check_prevalence(prevalence: float) -> None:
    """Raise UsageError for one that is not between 0 and 1."""
    if not 0 < prevalence < 1:
        raise UsageError(f"--prevalence is a share between 0 and 1, not {prevalence:g}.")


def at_prevalence(scores: Mapping[str, Score], prevalence: float) -> dict[str, Any]:
    """PPV and NPV where this share is positive, by Bayes from sensitivity and specificity.

    `low` and `high` take both at the ends of their intervals, so they are wide. All assume that sensitivity and specificity are
    the same there.

    Raises:
        UsageError: the prevalence is not between 0 and 1, or there are more than two classes.
    """
    check_prevalence(prevalence)
    if "sensitivity" not in scores:
        raise UsageError("--prevalence is for two classes: give --positive, or leave it out.")
    values: dict[str, Any] = {"prevalence": prevalence}
    for end in ("value", "low", "high"):
        found = [getattr(scores[name], end) for name in ("sensitivity", "specificity")]
        sensitivity, specificity = (np.nan if value is None else value for value in found)
        ill, well = (
            prevalence * np.array([sensitivity, 1 - sensitivity]),
            (1 - prevalence) * np.array([1 - specificity, specificity]),
        )
        for name, right, wrong in (("ppv", ill[0], well[0]), ("npv", well[1], ill[1])):
            share = right / (right + wrong) if right + wrong > 0 else np.nan
            values.setdefault(name, {})[end] = None if np.isnan(share) else float(share)
    return values


def conformal_sets(val: Outcome, test: Outcome, level: float) -> npt.NDArray[np.bool_]:
    """(N, K): whether a class is in the set of a test image: split conformal prediction, by 1 − p of the true class on validation.

    Of n validation images the ⌈(n + 1) · level⌉-th smallest is the bound; where there are too few, each set holds all classes.
    """
    wrongness = np.sort(1 - val.probabilities[np.arange(len(val)), val.labels])
    place = int(np.ceil((len(val) + 1) * level - 1e-9))
    bound = wrongness[place - 1] if place <= len(val) else np.inf
    return 1 - test.probabilities <= bound + 1e-12


def use_of(
    rows: Predictions, validation: Predictions | None, scores: Mapping[str, Score], prevalence: float | None
) -> dict[str, Any]:
    """All of this as JSON holds it, of several repeats of the first; what the predictions do not give is absent."""
    content: dict[str, Any] = {}
    first = rows.by_repeat()[0]
    if not rows.decided_only:
        if (line := calibration_line(first.outcome)) is not None:
            content["calibration"] = {name: score and asdict(score) for name, score in line.items()}
        if validation is not None and (sets := conformal(first, validation)):
            content["conformal"] = sets
    if prevalence is not None:
        content["at_prevalence"] = at_prevalence(scores, prevalence)
    return content


def conformal(rows: Predictions, validation: Predictions) -> list[dict[str, Any]]:
    """Of each level the share of test images, and of groups on average, whose set holds the truth, and the sets' sizes.

    Each fit's sets come from its own validation part. There are none if one has none, as an outer fold, whose inner models answer.
    """
    o = rows.outcome
    fits, theirs = (np.char.add(np.char.add(r.repeats, "/"), r.folds) for r in (rows, validation))
    if not np.isin(fits, theirs).all():
        return []
    found = []
    for level in LEVELS:
        sets = np.ones(o.probabilities.shape, bool)
        for fit in np.unique(fits):
            at, val = np.flatnonzero(fits == fit), np.flatnonzero(theirs == fit)
            sets[at] = conformal_sets(validation.outcome.take(val), o.take(at), level)
        covered = sets[np.arange(len(o)), o.labels].astype(float)
        _, group = np.unique(o.groups, return_inverse=True)
        sizes = sets.sum(1)
        found.append({
            "level": level,
            "coverage": asdict(mean(covered.tolist(), o.groups.tolist(), shares=True)),
            "coverage_of_groups": float((np.bincount(group, covered) / np.bincount(group)).mean()),
            "coverage_of_classes": {o.classes[k]: float(covered[o.labels == k].mean()) for k in np.unique(o.labels)},
            "single": float((sizes == 1).mean()),
            "empty": float((sizes == 0).mean()),
            "mean_size": float(sizes.mean()),
        })  # fmt: skip
    return found
