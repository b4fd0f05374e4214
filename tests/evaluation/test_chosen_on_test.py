"""A score that chooses its operating point on the test part is marked wherever people read it."""

import html
import re

from mammozoo.evaluation.metric import CHOSEN_ON_TEST
from mammozoo.models.config import read_config
from mammozoo.plugins import registry
from mammozoo.report.page import write_report
from mammozoo.reproduction.results import Gap, Line, Results, gap_rows, rows
from mammozoo.zoo.account import read_account
from mammozoo.zoo.card import Publication, publish_card
from mammozoo.zoo.directory import write_entries
from mammozoo.zoo.entry import FolderSource
from mammozoo.zoo.staging import stage


def check(text: str) -> None:
    """Every mention of such a score has its mark."""
    plain = " ".join(re.sub(r"[│|]", " ", html.unescape(text)).split())
    for name in ("sensitivity@90specificity", "specificity@90sensitivity"):
        ends = [match.end() for match in re.finditer(re.escape(name), plain)]
        assert ends, f"{name} is not there at all"
        for end in ends:
            assert plain[end:].startswith(CHOSEN_ON_TEST), plain[end - 60 : end + 40]


def test_in_tables_card_report_zoo_and_paper(command, tiny_run, tmp_path, monkeypatch) -> None:
    check(command("evaluate", tiny_run.path).ok.out)
    check((tiny_run.path / "README.md").read_text(encoding="utf-8"))
    check(write_report(tiny_run.path, heatmaps=False, out=tmp_path / "page.html").read_text(encoding="utf-8"))
    about = Publication("tiny", "1.0.0", "Apache-2.0", "none", "lab/tiny")
    card = publish_card(read_config(tiny_run.path), read_account(tiny_run.path, tiny_run.facts), "", about)
    check("".join(line for line in card.splitlines(keepends=True) if "type: s" not in line))  # the Hub's key
    staged = stage(tiny_run.path, about, tmp_path / "staged", allow_stamped=True)
    entry = staged.entry(FolderSource(path="staged"))
    assert entry is not None
    write_entries(tmp_path / "zoo.yaml", [entry])
    monkeypatch.setenv("MAMMOZOO_ZOO", str(tmp_path))
    check(command("zoo", "info", "tiny").ok.out)
    paper = registry().get("papers", "byra-2021")
    cells = []
    for name in ("sensitivity@90specificity", "specificity@90sensitivity"):
        line = Line("row", name, 0.5, *[0.5] * 5, 1, 1, 1, "split", "sound", "verdict")
        gap = Gap("row", name, *[0.1] * 5, 1)
        cells += [rows(Results(paper, (line,), (), ())), gap_rows(Results(paper, (), (gap,), ()))]
    check(str(cells))
    for metric in registry().items("metrics").values():
        assert ("chosen on the test part" in metric.value.summary) == ("@" in metric.value.name)
