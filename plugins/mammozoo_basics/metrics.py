"""The standard scores; scikit-learn computes each, and a vectorised twin serves the bootstrap."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

from mammozoo import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import Values, confusion, weighted_auc


def _both_classes(outcome: Outcome) -> bool:
    return len(np.unique(outcome.labels)) == len(outcome.classes)


def auc(outcome: Outcome) -> float:
    """Area under the ROC curve; with more than two classes the mean over one-against-rest areas."""
    if not _both_classes(outcome):
        return float("nan")
    if outcome.binary:
        return float(roc_auc_score(outcome.labels, outcome.probabilities[:, 1]))
    return float(
        np.mean([roc_auc_score(outcome.labels == k, outcome.probabilities[:, k]) for k in range(len(outcome.classes))])
    )


def _auc_resampled(outcome: Outcome, weights: Values) -> Values:
    if outcome.binary:
        return weighted_auc(outcome.labels == 1, outcome.probabilities[:, 1], weights)
    each = [
        weighted_auc(outcome.labels == k, outcome.probabilities[:, k], weights) for k in range(len(outcome.classes))
    ]
    return np.mean(each, axis=0)


def accuracy(outcome: Outcome) -> float:
    """Share of right decisions."""
    return float(accuracy_score(outcome.labels, outcome.decisions))


def _accuracy_resampled(outcome: Outcome, weights: Values) -> Values:
    counts = confusion(outcome, weights)
    return np.trace(counts, axis1=1, axis2=2) / counts.sum((1, 2))


def _recalls(outcome: Outcome, weights: Values) -> Values:
    """(B, K) recall of each class, NaN where it has no weight."""
    counts = confusion(outcome, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diagonal(counts, axis1=1, axis2=2) / counts.sum(2)


def balanced_accuracy(outcome: Outcome) -> float:
    """Mean of the classes' recalls."""
    if not _both_classes(outcome):
        return float("nan")
    return float(recall_score(outcome.labels, outcome.decisions, average="macro"))


def sensitivity(outcome: Outcome) -> float:
    """Share of the positive class that is found."""
    if not (outcome.labels == 1).any():
        return float("nan")
    return float(recall_score(outcome.labels, outcome.decisions))


def specificity(outcome: Outcome) -> float:
    """Share of the negative class that is left alone."""
    if not (outcome.labels == 0).any():
        return float("nan")
    return float(recall_score(outcome.labels, outcome.decisions, pos_label=0))


def _f1s(outcome: Outcome, weights: Values) -> Values:
    """(B, K) F1 of each class; 0 where it is neither present nor decided for, as scikit-learn has it."""
    counts = confusion(outcome, weights)
    hits = np.diagonal(counts, axis1=1, axis2=2)
    both = counts.sum(1) + counts.sum(2)
    return np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)


def f1(outcome: Outcome) -> float:
    """Harmonic mean of precision and sensitivity of the positive class."""
    return float(f1_score(outcome.labels, outcome.decisions, zero_division=0.0))


def macro_f1(outcome: Outcome) -> float:
    """Mean of the classes' F1."""
    labels = range(len(outcome.classes))
    return float(f1_score(outcome.labels, outcome.decisions, labels=labels, average="macro", zero_division=0.0))


METRICS = [
    Metric("auc", "area under the ROC curve (mean of one-against-rest)", auc, _auc_resampled, per_class=True),
    Metric("accuracy", "share of right decisions", accuracy, _accuracy_resampled),
    Metric(
        "balanced-accuracy",
        "mean recall of the classes",
        balanced_accuracy,
        lambda o, w: _recalls(o, w).mean(axis=1),
    ),
    Metric("macro-f1", "mean F1 of the classes", macro_f1, lambda o, w: _f1s(o, w).mean(axis=1)),
    Metric(
        "sensitivity",
        "recall of the positive class",
        sensitivity,
        lambda o, w: _recalls(o, w)[:, 1],
        overall=False,
        per_class=True,
    ),
    Metric(
        "specificity",
        "recall of the negative class",
        specificity,
        lambda o, w: _recalls(o, w)[:, 0],
        overall=False,
        per_class=True,
    ),
    Metric("f1", "F1 of the positive class", f1, lambda o, w: _f1s(o, w)[:, 1], overall=False, per_class=True),
]
