"""`mammozoo plugins new`."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def test_files_on_stdout_and_what_comes_next_on_stderr(command: Command, tmp_path: Path) -> None:
    answer = command("plugins", "new", "our-hospital", "--kind", "dataset")
    assert answer.code == 0, answer.err
    written = answer.out.splitlines()
    assert "our-hospital/src/mammozoo_our_hospital/__init__.py" in written
    assert all((tmp_path / path).is_file() for path in written)
    for line in (
        "mammozoo-our-hospital is written: a dataset 'our-hospital'.",
        "pip install -e 'our-hospital[test]'",
        "python -m pytest our-hospital",
        "mammozoo train --dataset our-hospital --root our-hospital/pictures",
    ):
        assert line in answer.err


def test_json_and_a_folder_with_a_space(command: Command, tmp_path: Path) -> None:
    """The lines that come next can be pasted: the one that draws pictures is run here."""
    answer = command("plugins", "new", "Mammozoo_Our.Hospital", "--kind", "dataset", "--out", "my plugins", "--json")
    assert answer.code == 0, answer.err
    content = answer.json
    assert (content["name"], content["kind"]) == ("our-hospital", "dataset")
    assert (content["distribution"], content["module"]) == ("mammozoo-our-hospital", "mammozoo_our_hospital")
    assert content["folder"] == "my plugins/Mammozoo_Our.Hospital"
    assert all((tmp_path / content["folder"] / path).is_file() for path in content["files"])
    assert shlex.split(content["next"][0])[-1] == "my plugins/Mammozoo_Our.Hospital[test]"
    _, *words = shlex.split(content["next"][2])
    subprocess.run([sys.executable, *words], check=True, timeout=60)
    assert len(list((tmp_path / content["folder"] / "pictures" / "malignant").glob("*_left.png"))) == 12


@pytest.mark.parametrize(
    ("name", "kind", "code", "words"),
    [
        ("net", "backbon", 2, ["no kind 'backbon'", "Did you mean 'backbone'?"]),
        ("net", "datasets", 2, ["Did you mean 'dataset'?"]),
        ("my net", "backbone", 2, ["'my net' cannot name a package", "our-hospital"]),
        ("lambda", "strategy", 2, ["keyword"]),
        ("drs", "strategy", 9, ["'drs' is taken", "mammozoo list strategies"]),
        ("gamma", "metric", 9, ["'gamma' is taken: a plugin of mammozoo"]),
    ],
)
def test_refusals_write_nothing(
    command: Command, tmp_path: Path, name: str, kind: str, code: int, words: list[str]
) -> None:
    command("plugins", "new", name, "--kind", kind).refused(code, *words)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(command: Command, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    assert command("plugins", "new", "net", "--kind", "metric").code == 0, "an empty folder is welcome"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    command("plugins", "new", "net", "--kind", "metric").refused(9, "'net' is not empty", "--out")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_file_in_the_way(command: Command, tmp_path: Path) -> None:
    (tmp_path / "net").write_text("mine")
    command("plugins", "new", "net", "--kind", "metric").refused(9, "'net' is a file")
    command("plugins", "new", "other", "--kind", "metric", "--out", "net").refused(4, "Cannot write")
    assert (tmp_path / "net").read_text() == "mine"
