"""Sections of plugins stand in card, report and supplement, from `run.json`, and a wrong one costs nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mammozoo import Outcome, RunDirectory, Section, plugins
from mammozoo.hookspecs import hookimpl
from mammozoo.plugins import Plugin, registry
from mammozoo.report.page import write_report
from mammozoo.training.experiment import train

from ..helpers import tiny


class Prevalence:
    """Two sections, one with a table."""

    @hookimpl
    def run_sections(self, run: RunDirectory, train: Outcome, test: Outcome) -> Any:
        yield Section("Prevalence", f"Of {len(test)} test images.\n\nA <b>second</b> paragraph.")
        rows = [{"part": name, "n|N": len(part)} for name, part in (("train", train), ("test", test))]
        yield Section("Sizes", rows=tuple(rows))


class Wrong:
    """Gives a text, then raises."""

    @hookimpl
    def run_sections(self, test: Outcome) -> Any:
        yield "text"
        raise KeyError("ward")


@pytest.fixture
def load() -> Iterator[None]:
    plugins.registry.cache_clear()
    for name, kind in (("wrong", Wrong), ("prevalence", Prevalence)):
        registry().load(Plugin(name, name, "1"), kind)
    yield
    plugins.registry.cache_clear()


def test_they_stand_in_card_report_and_supplement(load: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = train(tiny(), tmp_path / "run")
    assert "gave no mammozoo.Section" in caplog.text
    kept = json.loads((run.path / "run.json").read_text())["sections"]
    assert [one["title"] for one in kept] == ["Prevalence", "Sizes"]
    plugins.registry.cache_clear()  # the plugin may be gone when a report is written
    card, page = (run.path / "README.md").read_text(), write_report(run.path).read_text()
    supplement = write_report(run.path, out=tmp_path / "supplement.md", format="md").read_text()
    test = sum(row["n|N"] for row in kept[1]["rows"] if row["part"] == "test")
    for text in (card, supplement):
        assert "## Prevalence\n\nOf " in text and "| part | n\\|N |\n| --- | --- |\n| train | " in text
        assert f"| test | {test} |" in text
    assert '<h2 id="added-1">Prevalence</h2>' in page and "A &lt;b&gt;second" in page
    assert f"<td>test</td><td>{test}</td>" in page


def test_without_plugins_there_are_none(tmp_path: Path) -> None:
    run = train(tiny(), tmp_path / "run")
    assert "sections" not in run.facts
