"""`mammozoo list`."""

from __future__ import annotations

import contextlib
import dataclasses

import typer

from mammozoo import api
from mammozoo.cli.options import Json
from mammozoo.cli.output import note_failed_plugins, print_json, print_table
from mammozoo.errors import MammozooError

EXAMPLES = """
mammozoo list strategies
mammozoo list backbones --match resnet
"""


def list_(
    kind: str = typer.Argument(
        ..., help="datasets, backbones, strategies, heads, metrics, transforms, recipes or papers."
    ),
    match: str = typer.Option("", help="Only names that contain this."),
    as_json: Json = False,
) -> None:
    """List what the plugins provide."""
    items = [dataclasses.asdict(item) for item in api.list(kind, match)]
    columns = {"name": "name", "what it is": "summary", "plugin": "plugin"}
    if kind == "recipes":
        from mammozoo.config.loading import load

        columns["paper"] = "paper"  # whose method a recipe implements
        for item in items:
            item["paper"] = ""
            with contextlib.suppress(MammozooError):  # of a recipe that cannot be loaded
                item["paper"] = load(item["name"]).paper or ""
    if as_json:
        print_json({"kind": kind, "items": items})
        return
    print_table("", [*columns], [[item[key] for key in columns.values()] for item in items])
    note_failed_plugins()
