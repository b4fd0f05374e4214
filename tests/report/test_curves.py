"""Curves: against cases worked out by hand, and where a class is missing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.reliability import reliability
from mammozoo.report.plots import operating_point, roc_band, views


def _outcome(labels: list[int], positive: list[float], groups: list[int] | None = None) -> Outcome:
    p = np.stack([1 - np.array(positive), np.array(positive)], axis=1)
    group = np.array(groups if groups is not None else range(len(labels)), np.intp)
    return Outcome(("benign", "malignant"), np.array(labels, np.intp), p, decide(p, 0.5), group)


def test_the_operating_point_is_that_of_the_decisions() -> None:
    outcome = _outcome([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.4, 0.9])
    assert operating_point(outcome) == (0.25, 0.5, 0.5)
    assert operating_point(_outcome([0, 1], [0.1, 0.2])) == (0, 0, None)


def test_the_band_holds_the_curve_and_grows_when_images_come_in_groups() -> None:
    rng = np.random.default_rng(3)
    labels = (np.arange(160) % 2).tolist()
    positive = (0.5 + 0.2 * (np.array(labels) - 0.5) + rng.uniform(-0.3, 0.3, 160)).tolist()
    grid, low, high = roc_band(_outcome(labels, positive))
    fpr, tpr, _ = roc_curve(labels, positive)
    curve = np.interp(grid, fpr, tpr)
    inside = (low - 0.02 <= curve) & (curve <= high + 0.02)
    assert inside[1:-1].mean() > 0.95
    alone, together, apart = (
        np.mean(high - low)
        for _, low, high in (
            (grid, low, high),
            roc_band(_outcome(labels * 4, positive * 4, list(range(160)) * 4)),
            roc_band(_outcome(labels * 4, positive * 4)),
        )
    )
    # Copies of one image are no new evidence: by group the band is as wide as without them.
    assert together == pytest.approx(alone, rel=0.1)
    assert apart < 0.7 * together


def test_reliability_counts_every_image_once() -> None:
    found = reliability(_outcome([0, 0, 1, 1, 1], [0.05, 0.05, 0.05, 0.95, 1.0]))
    assert found.counts.tolist() == [3, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.observed.tolist() == pytest.approx([1 / 3, 1.0])
    assert found.predicted.tolist() == pytest.approx([0.05, 0.975])
    assert found.low[0] < 1 / 3 < found.high[0]


def test_a_class_without_images_has_no_curve() -> None:
    assert views(_outcome([1, 1], [0.3, 0.6])) == []
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]])
    three = Outcome(("a", "b", "c"), np.array([0, 1]), p, p.argmax(axis=1), np.array([0, 1]))
    assert [view.classes[1] for view in views(three)] == ["a", "b"]
