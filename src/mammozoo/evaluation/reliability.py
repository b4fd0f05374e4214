"""Predicted and observed frequencies in ten equal bins of probability: for the reliability diagram and the ECE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Values

BINS = 10  #: 0–0.1, …, 0.9–1; the upper edge belongs to the bin


@dataclass(frozen=True)
class Reliability:
    """Predicted and observed frequency in the B bins that hold images."""

    predicted: Values  #: (B,) mean probability
    observed: Values  #: (B,) share of images for which it came true
    low: Values  #: (B,) lower bound of the Wilson 95 % interval of `observed`, images taken as independent
    high: Values
    counts: npt.NDArray[np.intp]  #: (BINS,) images in every bin, empty ones included


def claims(outcome: Outcome) -> tuple[npt.NDArray[np.intp], Values]:
    """(N,) 0 or 1, whether the claim (the positive class of two, the most probable of more) came true; (N,) its probability."""
    if outcome.binary:
        return outcome.labels, outcome.probabilities[:, 1]
    top = outcome.probabilities.argmax(axis=1)
    return (outcome.labels == top).astype(np.intp), outcome.probabilities.max(axis=1)


def bins(p: Values) -> npt.NDArray[np.intp]:
    """(N,) probabilities → (N,) numbers of their bins, as `sklearn.calibration.calibration_curve` has them."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], p)


def in_bins(p: Values, values: Values) -> Values:
    """(N, BINS) the values in the columns of their bins, 0 elsewhere."""
    columns = np.zeros((len(p), BINS))
    columns[np.arange(len(p)), bins(p)] = values
    return columns


def reliability(outcome: Outcome) -> Reliability:
    """The numbers of the reliability diagram."""
    from scipy.stats import binomtest
    from sklearn.calibration import calibration_curve

    true, p = claims(outcome)
    p = p.clip(0, 1)
    observed, predicted = calibration_curve(true, p, n_bins=BINS, strategy="uniform", pos_label=1)
    counts = np.bincount(bins(p), minlength=BINS)
    hits = np.bincount(bins(p), true, minlength=BINS).astype(int)
    bounds = [
        binomtest(int(k), int(n)).proportion_ci(0.95, method="wilson") for k, n in zip(hits, counts, strict=True) if n
    ]
    low, high = np.array(bounds).T
    return Reliability(predicted, observed, low, high, counts)
