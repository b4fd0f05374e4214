"""What else studies report of predictions: risk and coverage, calibration by the top class, and where mistakes gather.

confidence     the probability of the class decided for
coverage       share of the samples with at least this confidence: the others are left to a reader
risk           share of wrong decisions among them
AURC           mean of the risk over all coverages 1/n, 2/n … 1 (Geifman, Uziel & El-Yaniv 2019); tied samples in their order

`MORE` are scores that `evaluate` has beside those of plugins. They are not in a run's `scores.json`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.reliability import in_bins
from mammozoo.evaluation.resampling import Ranked, Source, Values, share
from mammozoo.evaluation.selection import positives

CUTS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  #: of confidence, in the table of risk and coverage
CONFIDENT = (0.8, 0.9, 0.95)  #: from which on a mistake is called confident
WORST = 5  #: patients
_POINTS = 200  # of the curve


def confidence(outcome: Outcome) -> Values:
    """(N,) probability of the class decided for."""
    return outcome.probabilities[np.arange(len(outcome)), outcome.decisions]


def _areas(ranked: Ranked) -> Values:
    """(B,) AURC; `ranked` counts wrong decisions as true and right ones as false."""
    wrong = ranked.true.astype(np.float64)
    n = ranked.true + ranked.false
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n.max() + 1))])
    before, wrong_before = np.pad(n, ((0, 0), (1, 0)))[:, :-1], np.pad(wrong, ((0, 0), (1, 0)))[:, :-1]
    size = n - before
    rate = np.divide(wrong - wrong_before, size, out=np.zeros_like(wrong), where=size > 0)
    # A sample drawn several times, or a joined step, has its mistakes spread evenly: Σ (e + rate (k − before)) / k for k up to n.
    risks = rate * size + (wrong_before - rate * before) * (harmonic[n] - harmonic[before])
    return share(risks.sum(axis=1), n[:, -1])


def _area(outcome: Outcome) -> float:
    source = Source(outcome)
    return float(_areas(_points(source))[0])


def _points(source: Source) -> Ranked:
    """Wrong and right decisions down to each confidence."""
    _, wrong, ends = source.by_confidence.ranking
    true = np.cumsum(wrong, dtype=np.int32)[ends]
    return Ranked(true[None], (ends + 1 - true).astype(np.int32)[None])


def _top(outcome: Outcome) -> Values:
    """(N, BINS) whether the most probable class is right, minus its probability, in the column of its bin."""
    p = outcome.probabilities.max(axis=1)
    hit = outcome.probabilities.argmax(axis=1) == outcome.labels
    return in_bins(p, hit - p)


def _squares(outcome: Outcome) -> Values:
    """(N,) squared errors of the probabilities of all classes, summed."""
    of = np.arange(len(outcome))
    p = outcome.probabilities
    return (p**2).sum(axis=1) - p[of, outcome.labels] ** 2 + (1 - p[of, outcome.labels]) ** 2


MORE = (
    Metric(
        "aurc", "area under the risk–coverage curve", _area, lambda d: _areas(d.by_confidence.ranked), higher_is_better=False
    ),
    Metric(
        "ece-top-class", "expected calibration error of the most probable class, ten bins",
        lambda o: float(np.abs(_top(o).sum(axis=0)).sum() / len(o)),
        lambda d: share(np.abs(d.sums(_top)).sum(axis=1), d.total), higher_is_better=False,
    ),
    Metric(
        "brier-all-classes", "mean squared error of the probabilities, summed over the classes, 0 to 2",
        lambda o: float(_squares(o).mean()), lambda d: share(d.sums(_squares)[:, 0], d.total), higher_is_better=False,
    ),
)  # fmt: skip


def study(rows: Predictions) -> dict[str, Any]:
    """Risk and coverage, confident mistakes and missed positives, as JSON holds them; of several repeats the first, folds pooled.

    Without probabilities there are only the missed ones. Of several classes those are positive whose names mean ill; with none
    of them nothing is missed.
    """
    rows = rows.by_repeat()[0]
    o, ill = rows.outcome, positives(rows.outcome.classes)
    content: dict[str, Any] = {"positive": [o.classes[number] for number in ill]}
    positive, called = np.isin(o.labels, ill), np.isin(o.decisions, ill)
    missed, wrong = positive & ~called, o.decisions != o.labels
    if not rows.decided_only:
        sure = confidence(o)
        content["risk_coverage"] = {"at": [_accepted(sure >= cut, cut, wrong, positive, called) for cut in CUTS]}
        content["risk_coverage"]["curve"] = curve(o)
        content["confident_mistakes"] = [
            {
                "confidence": cut,
                "mistakes": int(of.sum()),
                "share": _share(of.sum(), wrong.sum()),
                "missed": int((of & missed).sum()),
            }
            for cut in CONFIDENT
            for of in [wrong & (sure >= cut)]
        ]
    if ill:
        content["missed"] = _gathered(rows, missed, positive)
    return content


def curve(outcome: Outcome) -> list[tuple[float, float]]:
    """(coverage, risk) at falling confidence, at most 200 points."""
    ranked = _points(Source(outcome))
    n = (ranked.true + ranked.false)[0]
    at = np.unique(np.linspace(0, len(n) - 1, min(len(n), _POINTS)).round().astype(int))
    return [(float(k / n[-1]), float(wrong / k)) for k, wrong in zip(n[at], ranked.true[0, at], strict=True)]


def _accepted(
    kept: npt.NDArray[np.bool_], cut: float, wrong: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_],
    called: npt.NDArray[np.bool_],
) -> dict[str, Any]:  # fmt: skip
    """One row of the table: what is decided from this confidence on, and what is left to a reader."""
    ill, well = kept & positive, kept & ~positive
    return {
        "confidence": cut,
        "n": int(kept.sum()),
        "coverage": float(kept.mean()),
        "accuracy": _share((kept & ~wrong).sum(), kept.sum()),
        "sensitivity": _share((ill & called).sum(), ill.sum()),
        "specificity": _share((well & ~called).sum(), well.sum()),
        "missed": int((ill & ~called).sum()),
        "positives_abstained": int((~kept & positive).sum()),
    }


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _gathered(rows: Predictions, missed: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How many positives were missed, as what, and in which patients (groups where nobody knows patients)."""
    o, at = rows.outcome, np.flatnonzero(missed)
    names = [rows.patients[i] or f"group {o.groups[i]}" for i in at]
    each = Counter(map(str, names)).most_common()
    worst = each[:WORST]
    return {
        "n": len(at),
        "of": int(positive.sum()),
        "patients": len(each),
        "unit": "patients" if rows.patients[at].all() else "groups",
        "worst": [{"patient": name, "missed": many} for name, many in worst],
        "of_worst": sum(many for _, many in worst),
        "share_of_worst": _share(sum(many for _, many in worst), len(at)),
        "as": {o.classes[number]: int(many) for number, many in Counter(o.decisions[at].tolist()).most_common()},
    }
