"""`mammozoo compare`."""

from __future__ import annotations

import shutil


def test_the_command(command, tiny_run, tmp_path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "again")
    answer = command("compare", tiny_run.path, "again", "--json")
    assert answer.code == 0
    assert {row["difference"] for row in answer.json["rows"]} == {0.0}
    command("compare", tiny_run.path, tiny_run.path).refused(2, "named twice")
    command("compare", tiny_run.path, "nowhere").refused(3, "nowhere")
