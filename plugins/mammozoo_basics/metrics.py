"""The standard scores. scikit-learn computes each; a vectorised version serves the bootstrap.

A score that is undefined (a class is missing, no sample is called positive) is NaN, in both versions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from mammozoo import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.reliability import BINS, bins, claims, in_bins
from mammozoo.evaluation.resampling import Resamples, Values, share

NAN = float("nan")
Mask = npt.NDArray[np.bool_]


def _complete(outcome: Outcome) -> bool:
    return bool(np.bincount(outcome.labels, minlength=len(outcome.classes)).all())


# By rank: no threshold is involved.


def _ranked(outcome: Outcome, score: Callable[..., float]) -> float:
    """The score of the positive class of two; of more classes the mean over one-against-rest."""
    if not _complete(outcome):
        return NAN
    if outcome.binary:
        return float(score(outcome.labels, outcome.probabilities[:, 1]))
    return float(np.mean([_ranked(outcome.one_against_rest(k), score) for k in range(len(outcome.classes))]))


def auc(outcome: Outcome) -> float:
    """Area under the ROC curve; with more than two classes the mean over one-against-rest areas."""
    return _ranked(outcome, sk.roc_auc_score)


def auprc(outcome: Outcome) -> float:
    """Average precision; with more than two classes the mean over one-against-rest."""
    return _ranked(outcome, sk.average_precision_score)


def _aucs(draws: Resamples) -> Values:
    return draws.ranked.area if draws.outcome.binary else np.mean([_aucs(d) for d in draws.each_against_rest], axis=0)


def _auprcs(draws: Resamples) -> Values:
    if draws.outcome.binary:
        return draws.ranked.average_precision
    return np.mean([_auprcs(d) for d in draws.each_against_rest], axis=0)


def sensitivity_at(outcome: Outcome) -> float:
    """The highest sensitivity at which 90 % of the negative class are left alone; it chooses its own threshold."""
    if not _complete(outcome):
        return NAN
    fpr, tpr, _ = sk.roc_curve(outcome.labels, outcome.probabilities[:, 1], drop_intermediate=False)
    return float(tpr[fpr <= 0.1].max())


def _sensitivities_at(draws: Resamples) -> Values:
    true, false, negatives = draws.ranked.true, draws.ranked.false, draws.ranked.negatives
    allowed = np.where(10 * false <= negatives[:, None], true, 0)  # in whole numbers: 0.1 is not exact in floats
    return share(allowed.max(axis=1), np.where(negatives > 0, draws.ranked.positives, 0))


def specificity_at(outcome: Outcome) -> float:
    """The highest specificity at which 90 % of the positive class are found; it chooses its own threshold."""
    if not _complete(outcome):
        return NAN
    fpr, tpr, _ = sk.roc_curve(outcome.labels, outcome.probabilities[:, 1], drop_intermediate=False)
    return float(1 - fpr[tpr >= 0.9].min())


def _specificities_at(draws: Resamples) -> Values:
    true, false, negatives = draws.ranked.true, draws.ranked.false, draws.ranked.negatives
    needed = np.where(10 * true >= 9 * draws.ranked.positives[:, None], false, negatives[:, None])
    return 1 - share(needed.min(axis=1), np.where(draws.ranked.positives > 0, negatives, 0))


# By decision: at the threshold in force.


def accuracy(outcome: Outcome) -> float:
    """Share of right decisions."""
    return float(sk.accuracy_score(outcome.labels, outcome.decisions))


def _accuracies(draws: Resamples) -> Values:
    return share(_hits(draws).sum(axis=1), draws.total)


def _hits(draws: Resamples) -> Values:
    """(B, K) right decisions of each class."""
    return np.diagonal(draws.confusion, axis1=1, axis2=2)


def balanced_accuracy(outcome: Outcome) -> float:
    """Mean of the classes' recalls."""
    return float(sk.balanced_accuracy_score(outcome.labels, outcome.decisions)) if _complete(outcome) else NAN


def _recalls(draws: Resamples) -> Values:
    """(B, K) recall of each class: specificity and sensitivity of two."""
    return share(_hits(draws), draws.confusion.sum(axis=2))


def sensitivity(outcome: Outcome) -> float:
    """Share of the positive class that is found."""
    return float(sk.recall_score(outcome.labels, outcome.decisions)) if (outcome.labels == 1).any() else NAN


def specificity(outcome: Outcome) -> float:
    """Share of the negative class that is left alone."""
    if not (outcome.labels == 0).any():
        return NAN
    return float(sk.recall_score(outcome.labels, outcome.decisions, pos_label=0))


def ppv(outcome: Outcome) -> float:
    """Share of the positive class among those that are called positive; NaN if there are none."""
    return float(sk.precision_score(outcome.labels, outcome.decisions, zero_division=np.nan))


def npv(outcome: Outcome) -> float:
    """Share of the negative class among those that are called negative; NaN if there are none."""
    return float(sk.precision_score(outcome.labels, outcome.decisions, pos_label=0, zero_division=np.nan))


def _precisions(draws: Resamples) -> Values:
    """(B, K) precision of each class: NPV and PPV of two."""
    return share(_hits(draws), draws.confusion.sum(axis=1))


def f1(outcome: Outcome) -> float:
    """Harmonic mean of precision and sensitivity of the positive class; 0 if it is neither present nor called."""
    return float(sk.f1_score(outcome.labels, outcome.decisions, zero_division=0.0))


def macro_f1(outcome: Outcome) -> float:
    """Mean of the classes' F1."""
    labels = range(len(outcome.classes))
    return float(sk.f1_score(outcome.labels, outcome.decisions, labels=labels, average="macro", zero_division=0.0))


def _f1s(draws: Resamples) -> Values:
    """(B, K) F1 of each class."""
    both = draws.confusion.sum(axis=1) + draws.confusion.sum(axis=2)
    return np.nan_to_num(share(2 * _hits(draws), both))


def mcc(outcome: Outcome) -> float:
    """Matthews' correlation of labels and decisions; 0 if all decisions are equal, NaN if all labels are."""
    return float(sk.matthews_corrcoef(outcome.labels, outcome.decisions)) if _differ(outcome.labels) else NAN


def _mccs(draws: Resamples) -> Values:
    present, called, total = draws.confusion.sum(axis=2), draws.confusion.sum(axis=1), draws.total
    covariance = _hits(draws).sum(axis=1) * total - (present * called).sum(axis=1)
    spread = total**2 - (present**2).sum(axis=1)
    product = spread * (total**2 - (called**2).sum(axis=1))
    return np.where(spread > 0, np.nan_to_num(share(covariance, np.sqrt(product))), np.nan)


def kappa(outcome: Outcome) -> float:
    """Cohen's κ, unweighted: agreement of labels and decisions beyond chance; NaN where all labels are the same."""
    return float(sk.cohen_kappa_score(outcome.labels, outcome.decisions)) if _differ(outcome.labels) else NAN


def _kappas(draws: Resamples) -> Values:
    present, called, total = draws.confusion.sum(axis=2), draws.confusion.sum(axis=1), draws.total
    chance = (present * called).sum(axis=1)
    agreed = _hits(draws).sum(axis=1) * total - chance
    return np.where((present > 0).sum(axis=1) > 1, share(agreed, total**2 - chance), np.nan)


def _differ(labels: npt.NDArray[np.intp]) -> bool:
    return bool((labels != labels[0]).any())


# By probability: calibration counts.


def brier(outcome: Outcome) -> float:
    """Mean squared error of the probability of two classes, 0 to 1; of more summed over the classes, 0 to 2."""
    if outcome.binary:
        return float(sk.brier_score_loss(outcome.labels, outcome.probabilities[:, 1], pos_label=1))
    return float(sum(brier(outcome.one_against_rest(k)) for k in range(len(outcome.classes))))


def _squared_errors(outcome: Outcome) -> Values:
    errors = (outcome.probabilities - np.eye(len(outcome.classes))[outcome.labels]) ** 2
    return errors[:, 1] if outcome.binary else errors.sum(axis=1)


def _briers(draws: Resamples) -> Values:
    return share(draws.sums(_squared_errors)[:, 0], draws.total)


def ece(outcome: Outcome) -> float:
    """Expected calibration error: mean distance of frequency and probability over ten bins, weighted by samples.

    Of two classes the probability of the positive one (Naeini 2015), of more that of the most probable one
    against whether it is right (Guo 2017).
    """
    hit, p = claims(outcome)
    frequency, mean = calibration_curve(hit, p, n_bins=BINS, pos_label=1)
    counts = np.bincount(bins(p))
    return float(np.average(np.abs(frequency - mean), weights=counts[counts > 0]))


def _gaps(outcome: Outcome) -> Values:
    hit, p = claims(outcome)
    return in_bins(p, hit - p)


def _eces(draws: Resamples) -> Values:
    return share(np.abs(draws.sums(_gaps)).sum(axis=1), draws.total)


# What proportions are shares of.


def _all(outcome: Outcome) -> Mask:
    return np.ones(len(outcome), bool)


def _positives(outcome: Outcome) -> Mask:
    return outcome.labels == 1


def _negatives(outcome: Outcome) -> Mask:
    return outcome.labels == 0


def _called(outcome: Outcome) -> Mask:
    return outcome.decisions == 1


def _cleared(outcome: Outcome) -> Mask:
    return outcome.decisions == 0


METRICS = [
    Metric("auc", "area under the ROC curve (mean of one-against-rest)", auc, _aucs, per_class=True),
    Metric("auprc", "average precision (mean of one-against-rest)", auprc, _auprcs, per_class=True),
    Metric("accuracy", "share of right decisions", accuracy, _accuracies, among=_all, of_decisions=True),
    Metric(
        "balanced-accuracy",
        "mean recall of the classes",
        balanced_accuracy,
        lambda d: _recalls(d).mean(axis=1),
        of_decisions=True,
    ),
    Metric("macro-f1", "mean F1 of the classes", macro_f1, lambda d: _f1s(d).mean(axis=1), of_decisions=True),
    Metric("mcc", "Matthews' correlation of labels and decisions", mcc, _mccs, of_decisions=True),
    Metric("kappa", "Cohen's kappa of labels and decisions", kappa, _kappas, of_decisions=True),
    *(
        Metric(
            name, summary, value, resampled, overall=False, per_class=True, among=among, of_decisions="@" not in name
        )
        for name, summary, value, resampled, among in (
            ("sensitivity", "recall of the positive class", sensitivity, lambda d: _recalls(d)[:, 1], _positives),
            ("specificity", "recall of the negative class", specificity, lambda d: _recalls(d)[:, 0], _negatives),
            ("ppv", "precision of the positive class", ppv, lambda d: _precisions(d)[:, 1], _called),
            ("npv", "precision of the negative class", npv, lambda d: _precisions(d)[:, 0], _cleared),
            ("f1", "F1 of the positive class", f1, lambda d: _f1s(d)[:, 1], None),
            (
                "sensitivity@90specificity",
                "sensitivity at 90 % specificity, a point chosen on the test part",
                sensitivity_at,
                _sensitivities_at,
                _positives,
            ),
            (
                "specificity@90sensitivity",
                "specificity at 90 % sensitivity, a point chosen on the test part",
                specificity_at,
                _specificities_at,
                _negatives,
            ),
        )
    ),
    Metric("brier", "mean squared error of the probabilities", brier, _briers, per_class=True, higher_is_better=False),
    Metric("ece", "expected calibration error, ten bins", ece, _eces, per_class=True, higher_is_better=False),
]
