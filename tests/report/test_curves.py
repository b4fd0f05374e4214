"""Curves: against cases worked out by hand, and where a class is missing."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import roc_curve

from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.reliability import reliability
from mammozoo.report.claim import Item, checklist, count, listed
from mammozoo.report.content import read
from mammozoo.report.mistakes import Gallery
from mammozoo.report.plots import operating_point, roc_band, views
from mammozoo.report.separation import separation

from ..helpers import outcome as _outcome


def test_the_operating_point_and_reliability_by_hand() -> None:
    outcome = _outcome([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.4, 0.9])
    assert operating_point(outcome) == (0.25, 0.5, 0.5)
    assert operating_point(_outcome([0, 1], [0.1, 0.2])) == (0, 0, None)
    assert views(_outcome([1, 1], [0.3, 0.6])) == []
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]])
    three = Outcome(("a", "b", "c"), np.array([0, 1]), p, p.argmax(axis=1), np.array([0, 1]))
    assert [view.classes[1] for view in views(three)] == ["a", "b"]
    found = reliability(_outcome([0, 0, 1, 1, 1], [0.05, 0.05, 0.05, 0.95, 1.0]))
    assert found.counts.tolist() == [3, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.observed.tolist() == pytest.approx([1 / 3, 1.0])
    assert found.predicted.tolist() == pytest.approx([0.05, 0.975])
    assert found.low[0] < 1 / 3 < found.high[0]


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


# ---------------------------------------------------------------- CLAIM 2024


@pytest.fixture(scope="module")
def items(tiny_run) -> list[Item]:
    content = read(tiny_run.path)
    return checklist(content, separation(content), Gallery(3, ()))


def test_the_44_items_stand_in_the_published_sections_and_are_counted(items: list[Item]) -> None:
    """The sections' first items, as in the checklist of Tejani et al. 2024."""
    assert [item.number for item in items] == list(range(1, 45))
    first = {item.section: item.number for item in reversed(items)}
    assert list(reversed(first.values())) == [1, 3, 5, 7, 14, 19, 21, 22, 25, 28, 35, 37, 40, 42]
    states = [items[0], items[1], items[22]]
    assert [item.state for item in states] == ["partly", "open", "filled"]
    assert count(states) == {"filled": 1, "partly": 1, "open": 1}


def test_answers_hold_the_runs_numbers_and_leave_the_rest_to_the_authors(items: list[Item], tiny_run) -> None:
    scores = json.loads((tiny_run.path / "scores.json").read_text())
    known = {item.number: item.known for item in items}
    assert f"{scores['auc']['value']:.3f}" in known[37]
    assert f"{scores['sensitivity']['value']:.3f}" in known[38]
    assert "64×64" in known[9]
    assert f"{sum(t.size for t in load_file(tiny_run.path / 'model.safetensors').values()):,}" in known[22]
    assert tiny_run.facts["versions"]["torch"] in known[23]
    assert "3 of" in known[39]
    assert tiny_run.facts["model"]["sha256"] in known[43]
    unknown = [item.number for item in items if item.state == "open"]
    assert {2, 3, 4, 15, 33, 34, 44} <= set(unknown)
    assert 31 in unknown, "no heatmaps were drawn"
    assert items[20].state == "partly"
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
