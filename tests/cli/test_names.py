"""Names in any bytes, terminals of any encoding, text that would command the terminal: shown as escapes, and nothing is lost."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
from tests.builtin.trees.pictures import folder

from mammozoo import cli
from mammozoo.text import decode, encode, printable

NAME = os.fsdecode(b"n\xfc\xff_")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose names, and one of whose classes, are not UTF-8."""
    root = folder(tmp_path_factory.mktemp("names") / "data", each=12)
    for path in sorted(root.rglob("*.png")):
        path.rename(path.with_name(NAME + path.name))
    (root / "malignant").rename(root / os.fsdecode(b"mal\xffig"))
    return root


def test_names_that_are_not_utf8_go_through_every_command(command, data: Path, tiny: list[str], tmp_path: Path) -> None:
    train = ["train", *tiny, "--dataset", "folder", "--root", data]
    assert command(*train, "--out", "run").code == 0
    splits = json.loads((tmp_path / "run" / "splits.json").read_text(encoding="utf-8"))["splits"][0]
    assert all((data / name).is_file() for part in ("train", "val", "test") for name in splits[part])
    assert command(*train, "--split", "run/splits.json", "--dry-run").code == 0
    assert command("predict", data, "--model", "./run", "--csv", "p.csv", "--json").code == 0
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as handle:
        named = [decode(row["file"]) for row in csv.DictReader(handle)]
    assert len(named) == 24 and all(Path(name).is_file() for name in named)
    for words in (
        ("evaluate", "./run", "--csv", "e.csv"),
        ("data", "check", "folder", "--root", data, "--html", "c.html"),
        ("data", "show", "folder", "--root", data),
        ("explain", "./run", next(data.rglob("*000.png")), "--out", "maps"),
        ("report", "run", "--no-heatmaps"),
    ):
        answer = command(*words)
        assert answer.code in (0, 1) and "Traceback" not in answer.err + answer.out, answer.err
    for path in tmp_path.rglob("*"):
        if path.suffix in (".csv", ".json", ".html", ".yaml", ".txt", ".md"):
            path.read_text(encoding="utf-8")  # raises for a file that is not


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding(encoding: str, tiny_run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (
        "list datasets",
        "zoo list",
        "data show busi",
        f"data check folder --root {data}",
        f"evaluate {tiny_run.path}",
        f"evaluate {tiny_run.path} --json",
        f"predict {data}/benign --model {tiny_run.path} --json",
    ):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        monkeypatch.setattr(sys, "argv", ["mammozoo", *words.split(" ")])
        try:
            cli.main()
        except SystemExit as end:
            assert end.code in (0, 1, None), words
        out.flush()
        text = out.buffer.getvalue().decode(encoding)
        assert text
        if words.endswith("--json"):
            assert json.loads(text)["schema"] == 1
            assert "predict" not in words or Path(json.loads(text)["results"][0]["file"]).is_file()


def test_text_cannot_command_the_terminal(command, tmp_path: Path) -> None:
    evil = "\x1b[31mred\x1b]0;title\x07\u202e\x9b2J\r"
    root = folder(tmp_path / "data", each=2, classes=(f"a{evil}", "[bold]c"))
    for words in (
        ("data", "check", "folder", "--root", root),
        ("data", "show", "folder", "--root", root),
        ("predict", f"no{evil}"),
    ):
        answer = command(*words)
        shown = answer.out + answer.err
        assert not {"\x1b", "\x07", "\u202e", "\x9b", "\r"} & {*shown} and "Traceback" not in shown
        assert "\\x1b[31mred" in shown.replace("\n", "")
    names = sorted(path.relative_to(tmp_path).as_posix() for path in root.rglob("*.png") if "bold" in str(path))
    (tmp_path / "t.csv").write_text(f"path,label\n{names[0]},[/]b\n{names[1]},[bold]c\n")
    shown = command("data", "show", "csv", "--root", "t.csv")
    assert shown.code == 0 and "[/]b" in shown.out and "[bold]c" in shown.out


@pytest.mark.parametrize("text", ["plain ä 好 🩺", "a\\b", "tab\tand\nline", NAME, "\\udc41 is no escape of ours"])
def test_what_is_written_comes_back(text: str) -> None:
    assert decode(encode(text).decode("utf-8")) == text
    assert printable(text) == text or text == NAME


EMPTY = """predict ''
predict x.png --model ''
evaluate '' --dataset phantom
train --root ''
train --out=
data check folder --root ''
explain runs/x '' --out y
zoo show ''
list ''"""


@pytest.mark.parametrize("words", EMPTY.splitlines())
def test_an_empty_argument_is_refused(words: str, command) -> None:
    command(*("" if word == "''" else word for word in words.split())).refused(2, "empty")


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [("predict", LONG), ("data", "check", "folder", "--root", LONG), ("train", "--dataset", "folder", "--root", LONG, "--dry-run"),
     ("evaluate", LONG), ("predict", "x.png", "--model", LONG), ("predict", "~nobody-of-this-name/x"), ("train", f"{LONG}.yaml")],
)  # fmt: skip
def test_a_path_that_no_disk_takes_is_refused_in_one_paragraph(words: tuple[str, ...], command) -> None:
    answer = command(*words)
    assert answer.code in (2, 3), answer.err
    assert answer.err.count("mammozoo: ") == 1 and "bug" not in answer.err
