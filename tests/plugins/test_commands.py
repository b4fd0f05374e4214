"""Commands of plugins: run, listed, helped with, and harmless where they are wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mammozoo import cli
from mammozoo.plugins.command_spec import OWN

from ..helpers import Answer, python

GOOD = '''
from pathlib import Path
import typer
from mammozoo import CommandSpec, MammozooError, hookimpl

def wards(folder: Path, top: int = 3, wrong: bool = False) -> None:
    """Count the images of each ward."""
    if wrong:
        raise KeyError("ward")
    if top < 1:
        raise MammozooError("--top is 1 or more.")
    print(f"{folder} {top}")

group = typer.Typer(help="Rooms of a ward.")
group.command("count", help="Count them.")(wards)
group.command("show", help="Show them.")(wards)

@hookimpl
def register_commands():
    return [CommandSpec("wards", "images of each ward", run=wards, examples="mammozoo wards images --top 5"),
            CommandSpec("rooms", "rooms", run=group)]
'''
Run = Callable[..., Answer]


@pytest.fixture
def run(from_file, command) -> Run:
    """`run(plugin's text, words)`, with the plugin read anew."""

    def run(text: str, *words: str) -> Answer:
        from_file(text, "ours")
        return command(*words)

    return run


def test_a_plugin_adds_commands(run: Run, mammozoo, tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(GOOD)
    assert mammozoo("--plugin", "alone.py", "wards", "images").ok.out == "images 3\n"
    assert run(GOOD, "wards", "images", "--top", "5").ok.out == "images 5\n"
    assert run(GOOD, "rooms", "count", "images").ok.out == "images 3\n"
    shown = run(GOOD, "wards", "-h").ok.out
    assert "Count the images of each ward." in shown and "mammozoo wards images --top 5" in shown
    assert "images of each ward" in run(GOOD, "list", "commands").ok.out
    assert '"rooms"' in run(GOOD, "list", "commands", "--json").ok.out


def test_what_a_command_raises_is_one_message(run: Run) -> None:
    run(GOOD, "wards", "images", "--top", "0").refused(1, "--top is 1 or more")
    run(GOOD, "wards", "images", "--wrong").refused(1, "'ours'", "KeyError")
    run(GOOD, "ward").refused(2, "'ward'", "Did you mean 'wards'?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_there", "No module named 'nothing_there'"),
        (GOOD.replace('"wards", "images', '"Wards of ours", "images'), "cannot be written as a command"),
        (GOOD.replace('[CommandSpec("wards"', '[print, CommandSpec("wards"'), "not a mammozoo.CommandSpec"),
    ],
)
def test_a_plugin_that_fails_breaks_nothing_else(run: Run, text: str, words: str) -> None:
    assert run(text, "--help").ok.err == ""
    assert run(text, "show", "default").ok
    done = run(text, "wards")
    assert done.code == 2 and "Traceback" not in done.err and "No such command 'wards'" in done.err
    assert done.err.count("is left out") == 1 and words in done.err


def test_a_name_of_mammozoo_stays_its_own(run: Run) -> None:
    text = GOOD.replace('CommandSpec("rooms"', 'CommandSpec("train"')
    assert "Train a model from a recipe" in run(text, "train", "--help").ok.out
    assert "images 3" in run(text, "wards", "images").ok.out
    listed = run(text, "plugins", "list").ok
    assert "conflict" in listed.out and "its command 'train' is not used" in listed.out + listed.err


def test_a_command_that_cannot_be_read_is_one_message(run: Run) -> None:
    text = GOOD.replace("top: int", "top: int | str")
    run(text, "wards", "images").refused(1, "'ours'", "'wards'", "cannot be read")
    assert run(text, "--help").ok


def test_own_names_are_those_of_the_command_line() -> None:
    import typer

    group = typer.main.get_group(cli.app)
    assert {*group.commands} | {"refit"} == OWN


def test_help_loads_no_plugin(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom mammozoo import cli\nsys.argv = ['mammozoo', '--help']\ntry:\n    cli.main()\n"
        "except SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'pluggy', 'mammozoo.plugins') if name in sys.modules], file=sys.stderr)"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.err.strip() == "[]" and "list commands" in done.out
