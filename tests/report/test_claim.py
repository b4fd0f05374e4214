"""CLAIM 2024: 44 items in their order, filled with what a run knows and with nothing else."""

from __future__ import annotations

import json

import pytest

from mammozoo.report.claim import Item, checklist, count, listed
from mammozoo.report.content import read
from mammozoo.report.mistakes import Gallery
from mammozoo.report.separation import separation
from mammozoo.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def items(tiny_run: RunDirectory) -> list[Item]:
    content = read(tiny_run.path)
    return checklist(content, separation(content), Gallery(3, ()), 1234)


def test_the_44_items_stand_in_the_published_sections(items: list[Item]) -> None:
    """The sections' first items, as in the checklist of Tejani et al. 2024."""
    assert [item.number for item in items] == list(range(1, 45))
    first = {item.section: item.number for item in reversed(items)}
    assert list(reversed(first.values())) == [1, 3, 5, 7, 14, 19, 21, 22, 25, 28, 35, 37, 40, 42]


def test_states_are_counted(items: list[Item]) -> None:
    states = [items[0], items[1], items[22]]
    assert [item.state for item in states] == ["partly", "open", "filled"]
    assert count(states) == {"filled": 1, "partly": 1, "open": 1}


def test_answers_hold_the_runs_numbers(items: list[Item], tiny_run: RunDirectory) -> None:
    scores = json.loads((tiny_run.path / "scores.json").read_text())
    known = {item.number: item.known for item in items}
    assert f"{scores['auc']['value']:.3f}" in known[37]
    assert f"{scores['sensitivity']['value']:.3f}" in known[38]
    assert "64×64" in known[9]
    assert "1,234" in known[22]
    assert tiny_run.facts["versions"]["torch"] in known[23]
    assert "3 of" in known[39]
    assert tiny_run.facts["model"]["sha256"] in known[43]


def test_what_no_run_can_know_is_left_to_the_authors(items: list[Item]) -> None:
    unknown = [item.number for item in items if item.state == "open"]
    assert {2, 3, 4, 15, 33, 34, 44} <= set(unknown)
    assert 31 in unknown, "no heatmaps were drawn"
    assert items[20].state == "partly"


def test_lists_read_as_prose() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
