"""Every `mammozoo` line of README and docs is a command: its options exist, what is required is given, its names are there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from mammozoo.cli import app
from mammozoo.cli.options import read_roots, read_settings
from mammozoo.config.loading import load, own_data
from mammozoo.config.names import parse
from mammozoo.data.joined import kinds_of
from mammozoo.plugins import registry

from .blocks import Line, lines, pages

COMMANDS = typer.main.get_command(app)
#: Commands of plugins on the pages about them.
ADDED = {"optuna", "wards"}
#: Recipe keys of options of `train` that are named otherwise.
KEYS = {"lr": "optimizer.lr", "split": "split.file", "folds": "split.folds", "leave_out": "split.leave_out"}
KEYS |= {
    name: name for name in ("dataset", "exclude", "backbone", "weights", "strategy", "head", "epochs", "batch", "seed")
}
#: What the pages about plugins write themselves, or is a package of examples/.
THEIRS = ("norms", "gains", "our-", "tiny", "peft", "example", "./", "PLUGIN")


def read(line: Line) -> tuple[str, dict[str, Any]]:
    """The command's name and its parameters; an error of typer's if the line is none."""
    command: Any = COMMANDS
    words, name = list(line.words), ""
    while hasattr(command, "commands"):
        context = command.make_context(name or "mammozoo", words)
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    return name, dict(command.make_context(name, words).params)


def check_names(dataset: str | None, given: Mapping[str, Any]) -> None:
    """NotFoundError for a data set, backbone or strategy that is none."""
    if dataset and not dataset.startswith(THEIRS):
        kinds_of(dataset)
    backbone, strategy = given.get("backbone"), given.get("strategy")
    if backbone and not backbone.startswith(THEIRS):
        registry().get("backbones", parse(backbone).name)
    for part in (strategy or "").split("+"):
        if part and not part.startswith(THEIRS):
            registry().get("strategies", parse(part).name)


def check_recipe(given: Mapping[str, Any]) -> None:
    """An error for a recipe that is none, or a key or a value that it does not take."""
    source = given["recipe"]
    overrides = {key: str(given[name]) for name, key in KEYS.items() if given[name] is not None}
    overrides = read_settings([f"{key}={value}" for key, value in overrides.items()]) | read_settings(given["settings"])
    overrides["root"] = read_roots(given["root"])
    if source and (own_data(source) or source == "clinic"):
        source, overrides = "own", {"dataset": "folder"} | overrides
    elif (source and source.startswith(("example", "our-"))) or str(source).endswith(".yaml"):
        source = None
    load(source, {key: value for key, value in overrides.items() if key != "root"} | {"root": "."})


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_lines_of_a_page_are_commands(page: Path) -> None:
    wrong = []
    for line in lines(page):
        if next((word for word in line.words if word in ADDED), None):
            continue
        try:
            name, given = read(line)
            check_names(given.get("dataset"), given)
            if name == "train" and not (given["resume"] or given["extend"] or given["refit"]):
                check_recipe(given)
        except Exception as error:
            wrong.append(f"{line}\n    {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


def test_lines_are_found() -> None:
    found = [line for page in pages() for line in lines(page)]
    assert len(found) > 200
    assert len({line.page for line in found}) > 30
