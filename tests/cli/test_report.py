"""`mammozoo report` writes one page, where it was told to."""

from __future__ import annotations

import shutil


def test_the_page_is_written_where_asked_and_its_path_printed(command, tiny_run, tmp_path) -> None:
    answer = command("report", tiny_run.path, "--out", "page.html", "--no-heatmaps")
    assert answer.code == 0, answer.err
    assert answer.out == "page.html\n"
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "left out on request" in text


def test_without_out_it_stands_in_the_run(command, tiny_run, tmp_path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    assert command("report", "run").code == 0
    assert "with its heatmap" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_is_no_run_is_refused(command, tmp_path) -> None:
    command("report", tmp_path).refused(3, "no run.json")
