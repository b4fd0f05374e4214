"""What reaches the terminal: nothing that it would obey, one paragraph an error, and no word of a library."""

import json
import re
from pathlib import Path

import pytest

from mammozoo.cli.output import print_table
from mammozoo.errors import MammozooError, NotFoundError, UsageError

from ..helpers import edit_config

HOSTILE = "a\x1b[31m\x9b2J\u202eb\x07"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.mark.parametrize("kind", [MammozooError, UsageError, NotFoundError])
def test_a_message_is_one_paragraph_whatever_it_quotes(kind: type[MammozooError]) -> None:
    assert str(kind("there is no 'a\nb\r\nc\u2028d'")) == "there is no 'a b c d'"


@pytest.mark.parametrize(
    "words",
    [
        ["train", HOSTILE, "--nosuch"], ["train", "a", HOSTILE], [HOSTILE], ["zoo", HOSTILE], [f"--{HOSTILE}"],
        ["--plugin", HOSTILE, "list"],
        ["train", "--epochs", HOSTILE], ["predict", "in.png", "--device", HOSTILE], ["zoo", "export", "busi-resnet9",
        "--to", HOSTILE],
        ["predict", "--example", "--model", "./copy"], ["predict", "--example", "--model", "./copy", "--json"],
        ["evaluate", "copy"],
        ["zoo", "push", "copy", "--to", "zoo", "--license", "MIT", "--dry-run", "--allow-stamped", "--allow",
        "control-character"],
    ],
)  # fmt: skip
def test_no_control_character_reaches_it(words: list[str], run_copy: Path, command) -> None:
    edit_config(run_copy, name=HOSTILE, intended_use=HOSTILE, stamps=[HOSTILE], classes=["benign", HOSTILE])
    for table in (run_copy / "predictions.csv", run_copy / "holdout" / "predictions.csv"):
        table.write_text(table.read_text().replace("malignant", HOSTILE))
    answer = command(*words)
    assert answer.code != 70
    assert not OBEYED.search(answer.out + answer.err), answer
    if "--json" in words:
        assert json.loads(answer.out)["model"]["name"] == HOSTILE, "the reader of the JSON gets what was meant"


def test_libraries_are_silent_and_plugins_are_heard(mammozoo, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import logging, warnings\n"
        "warnings.warn('of a library')\n"
        "logging.getLogger('PIL.TiffImagePlugin').error('of a library')\n"
        "logging.getLogger('mammozoo_drs').warning('of ours')\n"
    )
    answer = mammozoo("--plugin", "mine.py", "list", "heads")
    assert answer.code == 0
    assert "of a library" not in answer.err and "WARNING: of ours" in answer.err
    assert "of a library" in mammozoo("--debug", "--plugin", "mine.py", "list", "heads").err


def test_names_of_a_zoo_are_printed_with_escapes(run_copy: Path, command, monkeypatch) -> None:
    assert (
        command("zoo", "push", run_copy, "--to", "zoo", "--license", "MIT", "--name", "m", "--allow-stamped").code == 0
    )
    listing = run_copy.parent / "zoo" / "zoo.yaml"
    listing.write_text(listing.read_text().replace("license: MIT", 'license: "a\\e[31m\\x9b2J"'))
    monkeypatch.setenv("MAMMOZOO_ZOO", str(listing.parent))
    for words in (["list"], ["list", "--json"], ["info", "m"], ["info", "m", "--json"], ["pull", "m"]):
        answer = command("zoo", *words)
        assert answer.code == 0 and not OBEYED.search(answer.out + answer.err), answer


def test_a_table_fits_the_terminal_and_loses_nothing(capsys, monkeypatch) -> None:
    rows = [("a.png", "乳腺 " * 8, 0.5), ("b" * 70, "two\nlines", None)]
    print_table("title", ["file", "what", "p"], rows)
    title, head, rule, *lines = capsys.readouterr().out.splitlines()
    assert (title, head.split(), {*rule}) == ("title", ["file", "what", "p"], {" ", "─"})
    assert [line.split()[-1] for line in lines[:3]] == ["0.5", "None", "lines"]
    assert lines[0].index("0.5") + 8 * 2 == lines[1].index("None"), "a wide character takes two places"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    print_table("", ["file", "what", "p"], rows)
    _, head, _, *lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 50 for line in lines) and "".join(lines).count("b") == 70
    assert "".join(lines).count("乳腺") == 8
