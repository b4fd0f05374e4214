"""`mammozoo list`."""

from __future__ import annotations

import contextlib
import re

import typer

from mammozoo import api
from mammozoo.cli.options import Json
from mammozoo.cli.output import note_failed_plugins, print_json, print_table
from mammozoo.errors import MammozooError, UsageError, nearest

EXAMPLES = """
mammozoo list strategies
mammozoo list backbones --match resnet
mammozoo list backbones --max-params 20M --weights here
"""
WEIGHTS = ("here", "hub", "pip", "none")


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
    "weight_maps": "layouts of published weights that `--weights hub:…:FILE` and `file:` know besides a network's own",
    "commands": "commands of plugins: `mammozoo NAME`",
}


def list_(
    kind: str = typer.Argument(
        None,
        help="datasets, backbones, strategies, heads, losses, metrics, transforms, predictors, recipes, papers, commands; "
        "without it, the kinds.",
    ),
    match: str = typer.Option("", help="Only names that contain this."),
    max_params: str = typer.Option(None, metavar="N", help="Only backbones with at most N parameters, such as 20M."),
    weights: str = typer.Option(
        "", metavar="WHERE", help="Only backbones whose ImageNet weights are here, on the hub, from pip, or none."
    ),
    as_json: Json = False,
) -> None:
    """List data sets, networks, strategies and everything else that plugins provide."""
    most = None if max_params is None else _number(max_params)
    if weights not in ("", *WEIGHTS):
        raise UsageError(f"--weights is {', '.join(WEIGHTS)}, not '{weights}'.{nearest(weights, WEIGHTS)}")
    if kind is None and (most is not None or weights):
        kind = "backbones"
    if kind is None:
        if as_json:
            print_json({"kinds": [*KINDS]})
        else:
            print_table("", ["kind", "what it is"], [*KINDS.items()])
        return
    items = [{**vars(item)} for item in api.list(kind, match, max_params=most, weights=weights)]
    columns = {"name": "name", "what it is": "summary", "plugin": "plugin"}
    if kind == "backbones":
        facts = {"parameters": "parameters", "input": "input_size", "weights": "weights", "licence": "licence"}
        columns = {"name": "name", "what it is": "summary", **facts, "plugin": "plugin"}
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
    print_table("", [*columns], [[_cell(item[key]) for key in columns.values()] for item in items])
    note_failed_plugins()


def _number(text: str) -> int:
    """`20M`, `1.5m`, `800k` or a plain number as a number; UsageError for anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgb]?)", text.strip().lower())
    if not found:
        raise UsageError(f"--max-params is a number such as 20M, 800k or 5000000, not '{text}'.")
    return round(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}[found[2]])


def _cell(value: object) -> object:
    """A value for people: parameters in millions, a size as `224` or `224 × 288`."""
    if isinstance(value, int):
        return f"{value / 1e6:.1f} M"
    if isinstance(value, tuple):
        return str(value[0]) if value[0] == value[1] else f"{value[0]} × {value[1]}"
    return "" if value is None else value
