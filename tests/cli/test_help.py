"""`--help` imports nothing heavy, and shows options in panels with examples that are commands."""

import inspect
import shlex
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
import typer

from mammozoo.cli import app

from ..helpers import python

HEAVY = ("torch", "torchvision", "timm", "sklearn", "albumentations", "numpy", "PIL", "yaml", "huggingface_hub", "rich")


def commands(command: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found = {words: command}
    for name, inner in getattr(command, "commands", {}).items():
        found |= commands(inner, (*words, name))
    return found


COMMANDS = commands(typer.main.get_command(app))


def test_help_of_every_command_imports_nothing_heavy() -> None:
    assert {(), ("train",), ("predict",), ("plugins", "list"), ("doctor",)} <= set(COMMANDS)
    code = f"""
import sys
from mammozoo.cli import main
for words in {list(COMMANDS)}:
    sys.argv = ["mammozoo", *words, "--help"]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, words
print("imported:", *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
print(len(sys.modules), file=sys.stderr)
"""
    answer = python("-c", code).ok
    assert answer.out.count("--help") >= len(COMMANDS)
    imported, modules = answer.err.splitlines()
    assert imported.strip() == "imported:"
    assert int(modules) < 500, "many small ones are slow too: benchmarks/startup.py measures seconds"


def test_a_typo_is_told_before_torch_is_imported() -> None:
    code = """
import sys
from mammozoo.cli import main
for words in (["--dataset", "bussi"], ["nosuchrecipe"], ["./nowhere"]):
    sys.argv = ["mammozoo", "train", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code == 3, words
print("imported:", *[name for name in ("torch", "timm", "sklearn") if name in sys.modules], file=sys.stderr)
"""
    assert python("-c", code).ok.err.splitlines()[-1].strip() == "imported:"


def test_options_stand_in_panels_and_examples_at_the_end(command) -> None:
    lines = command("predict", "--help").out.splitlines()
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert titles[1:] == ["Arguments:", "Options:", "Computing:", "Output:", "Examples:"]
    assert lines[lines.index("Output:") + 1].lstrip().startswith("--csv")
    assert lines[lines.index("Examples:") + 1] == "  mammozoo predict --example"


@pytest.mark.parametrize("words", [w for w, c in COMMANDS.items() if not hasattr(c, "commands")], ids=" ".join)
def test_the_examples_are_commands(words: tuple[str, ...]) -> None:
    """Their options exist, and all that is required is given."""
    command = COMMANDS[words]
    assert command.epilog
    for line in command.epilog.strip().splitlines():
        given = shlex.split(line.partition(" > ")[0])
        assert given[: len(words) + 1] == ["mammozoo", *words]
        command.make_context("mammozoo", given[len(words) + 1 :])


def test_options_have_types_that_every_version_of_typer_takes() -> None:
    """Typer before 0.28 refuses `Any`, and with it every command."""
    simple = {bool, int, float, str, Path, NoneType}

    def parts(hint: Any) -> set[Any]:
        return {hint} if not get_args(hint) else set().union(*map(parts, get_args(hint)))

    functions = [found.callback for found in COMMANDS.values() if found.callback is not None]
    assert len(functions) > 20
    for function in functions:
        hints = get_type_hints(inspect.unwrap(function))
        hints.pop("return", None)
        for name, hint in hints.items():
            enums = {part for part in parts(hint) if isinstance(part, type) and issubclass(part, Enum)}
            assert parts(hint) - enums <= simple | {typer.Context}, f"{function.__name__}({name}: {hint})"


def test_short_options_and_those_behind_a_command(command) -> None:
    assert command("-V").ok.out == command("--version").ok.out
    assert command("train", "-h").ok.out == command("train", "--help").ok.out
    assert "resnet9" in command("list", "recipes", "-q").ok.out == command("-q", "list", "recipes").ok.out
    command("list", "nothing", "-v").refused(2, "no kind")


def test_no_summary_is_cut(command) -> None:
    assert command("-h").ok.out.count("...") == 1  # [ARGS]...
