"""What several commands take, declared once: options, settings, the signal to stop; and the layout of their help."""

from __future__ import annotations

import contextlib
import functools
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mammozoo.errors import UsageError, must
from mammozoo.text import printable

if TYPE_CHECKING:
    from mammozoo.config.sections import Root as RootOf

#: Options of `mammozoo` itself that are understood behind a command too.
_ANYWHERE = {"-v", "--verbose", "-q", "--quiet", "--debug"}

recipe_option = functools.partial(typer.Option, rich_help_panel="Recipe")
data_option = functools.partial(typer.Option, rich_help_panel="Data")
computing_option = functools.partial(typer.Option, rich_help_panel="Computing")
output_option = functools.partial(typer.Option, rich_help_panel="Output")

ModelName = Annotated[str, typer.Argument(help="A zoo name, or the path of a run or model (./NAME).")]
Member = Annotated[
    str | None,
    typer.Option(help="One model of a run with several, best or fold-2; without it, all of them together."),
]
ModelNames = Annotated[list[str], typer.Argument(help="Names of models, as `zoo list` shows them.")]
Root = Annotated[Path | None, data_option(help="Folder (or CSV file) that holds the data.")]
Roots = Annotated[
    list[str] | None,
    data_option(
        "--root",
        metavar="PATH",
        help="Folder (or CSV file) that holds the data; for several data sets NAME=PATH for each, or a YAML file of these.",
    ),
]
Device = Annotated[str, computing_option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, computing_option(help="auto, bf16 or fp32.")]
Batch = Annotated[int, computing_option(min=1, max=65_536, help="Images in a batch.")]
Jobs = Annotated[
    int, computing_option(min=1, max=1024, help="Fits (folds, points of a grid, repeats) at once, each in a process.")
]
Settings = Annotated[
    list[str] | None,
    recipe_option("--set", metavar="KEY=VALUE", help="Any recipe key, such as split.val=0.1; repeatable."),
]
table_option = functools.partial(typer.Option, rich_help_panel="Tables and subsets")
Tta = Annotated[
    str | None, typer.Option(help="flip: average over an image and its mirror image, if training used mirror images.")
]
Truth = Annotated[
    Path | None, table_option(help="Table with the true labels for a table of predictions, joined by id.")
]
Columns = Annotated[
    list[str] | None,
    table_option(
        metavar="ROLE=COLUMN",
        help="Name a column of the table that is not recognised, such as truth=biopsy; repeatable.",
    ),
]
Positive = Annotated[
    str | None, table_option(metavar="CLASSES", help="Classes that form the positive class, such as malignant.")
]
Negative = Annotated[
    str | None, table_option(metavar="CLASSES", help="Classes that form the negative class; by default all others.")
]
Where = Annotated[
    str | None,
    table_option(metavar="CONDITIONS", help='Use only rows with these values, such as "marks=no and age>=50".'),
]
Csv = Annotated[Path | None, output_option(help="Also write a row for each image to this CSV file.")]
Json = Annotated[bool, output_option("--json", help="Machine-readable result on stdout.")]


def read_settings(pairs: list[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` pairs as values by dotted key; values are YAML.

    Raises:
        UsageError: a pair has no `=`, or its value is not YAML.
    """
    from mammozoo.documents import Document

    values = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, not '{pair}'.")
        try:
            values[key] = Document(value).content
        except ValueError as error:
            raise UsageError(f"--set {pair}: {error}.") from None
    return values


def read_roots(given: list[str] | None) -> RootOf | None:
    """What `--root` names: a path, or one for each of several data sets; UsageError if it is neither."""
    from mammozoo.files import given_path

    pairs = [re.fullmatch(r"([A-Za-z0-9][\w.-]*)=(.+)", text) for text in given or ()]
    if not given or (len(given) == 1 and (not pairs[0] or given_path(given[0]).exists())):
        return given_path(given[0]) if given else None
    roots = {pair[1]: given_path(pair[2]) for pair in pairs if pair}
    if len(roots) < len(given):
        raise UsageError(f"--root: several are written NAME=PATH, a name each, not {' and '.join(given)}.")
    return roots


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """A function that tells whether SIGTERM came, which Slurm sends before a job's time is over.

    Training then ends after the current batch. A second SIGTERM ends the process at once. Of several processes the main one
    keeps the state; the launcher ends the others.
    """
    received: list[int] = []

    def record(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = signal.signal(signal.SIGTERM, record)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):  # of the library, which prints it as it is
            vars(error)["message"] = printable(must(message))
        raise


class Command(TyperCommand):
    """A command whose help has a section for each panel, and its `epilog` as examples, a line each."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options by panel."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        _write_panels(formatter, panels)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, as they are written."""
        if self.epilog:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.epilog.strip().splitlines()))


class Group(TyperGroup):
    """Commands by panel; an empty argument of any command is refused, since it stands for a variable that is not set."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raise UsageError for an empty argument."""
        for number, word in enumerate(args):
            if not word or re.fullmatch(r"--[a-z-]+=", word):
                option = word or (args[number - 1] if number and args[number - 1].startswith("--") else "")
                where = f"{option.rstrip('=')} is" if option else "An argument is"
                raise UsageError(f"{where} empty. Is a variable of the shell not set? Give a value, or leave it out.")
        if ctx.parent is None:  # these may also stand behind the command
            end = args.index("--") if "--" in args else len(args)
            anywhere = [word for word in args[:end] if word in _ANYWHERE]
            args = [*anywhere, *(word for word in args[:end] if word not in _ANYWHERE), *args[end:]]
        with _printable_errors():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Whatever the arguments of a command hold, the terminal is not to obey it."""
        with _printable_errors():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Name and first sentence of every command."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                panels.setdefault(panel, []).append((name, command.get_short_help_str(limit=300)))
        _write_panels(formatter, panels)


def _write_panels(formatter: Any, panels: dict[str, list[tuple[str, str]]]) -> None:
    for title, rows in panels.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
