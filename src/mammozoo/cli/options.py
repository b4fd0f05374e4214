"""What several commands take, declared once, and how their help is laid out: options in panels, examples at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

DATA, COMPUTING, OUTPUT = "Data", "Computing", "Output"

ModelName = Annotated[str, typer.Argument(help="A run or model folder, or a zoo name.")]
ModelNames = Annotated[list[str], typer.Argument(help="Names of models, as `zoo list` shows them.")]
Root = Annotated[Path | None, typer.Option(help="Folder (or CSV file) that holds the data.", rich_help_panel=DATA)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=COMPUTING)]
Precision = Annotated[str, typer.Option(help="auto, bf16 or fp32.", rich_help_panel=COMPUTING)]
Batch = Annotated[int, typer.Option(min=1, help="Images in a batch.", rich_help_panel=COMPUTING)]
Jobs = Annotated[
    int,
    typer.Option(
        min=1, help="Fits (folds, points of a grid, repeats) at once, each in a process.", rich_help_panel=COMPUTING
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any recipe key, such as epochs=5.")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.", rich_help_panel=OUTPUT)]


class Command(TyperCommand):
    """A command whose help has a section for each panel, and its `epilog` as examples, a line each."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options by panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        _write(formatter, panels)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, as they are written."""
        if self.epilog:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.epilog.strip().splitlines()))


class Group(TyperGroup):
    """Commands by panel."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Name and first sentence of every command."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                panels.setdefault(panel, []).append((name, command.get_short_help_str(limit=90)))
        _write(formatter, panels)


def _write(formatter: Any, panels: dict[str, list[tuple[str, str]]]) -> None:
    for title, rows in panels.items():
        with formatter.section(title):
            formatter.write_dl(rows)
