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


KINDS = {
    "recipes": "everything that determines a training; `mammozoo train NAME`, `mammozoo show NAME`",
    "datasets": "what --dataset takes",
    "backbones": "networks: what --backbone takes",
    "strategies": "what of a network learns: what --strategy takes",
    "heads": "classifiers behind a network: what --head takes",
    "losses": "what `methods.loss` in a recipe takes",
    "predictors": "formats of other programs' models: what `predict --model PATH` takes besides ours",
    "transforms": "steps of `preprocess` and `augment` in a recipe",
    "metrics": "scores, and what `monitor` in a recipe takes",
    "papers": "published tables: `mammozoo reproduce NAME`",
    "zoos": "lists of models; `mammozoo zoo list` shows the models",
}


def list_(
    kind: str = typer.Argument(
        None,
        help="datasets, backbones, strategies, heads, losses, metrics, transforms, predictors, recipes, papers; else the kinds.",
    ),
    match: str = typer.Option("", help="Only names that contain this."),
    as_json: Json = False,
) -> None:
    """List what the plugins provide."""
    if kind is None:
        if as_json:
            print_json({"kinds": [*KINDS]})
        else:
            print_table("", ["kind", "what it is"], [*KINDS.items()])
        return
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
