"""`mammozoo list`."""

from __future__ import annotations

import typer

from mammozoo.cli.output import note, print_json, print_table


def list_items(
    kind: str = typer.Argument(
        ..., help="datasets, backbones, strategies, heads, metrics, transforms, recipes or papers."
    ),
    match: str = typer.Option("", help="Only names that contain this."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """List what the plugins provide."""
    from mammozoo.errors import UsageError, nearest
    from mammozoo.plugins import KINDS, registry

    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{nearest(kind, KINDS)} There are {', '.join(KINDS)}.")
    items = [item for item in registry().items(kind).values() if match in item.name]
    papers = {item.name: {"paper": _paper(item.name)} for item in items if kind == "recipes"}
    if as_json:
        print_json(
            {
                "kind": kind,
                "items": [
                    {
                        "name": item.name,
                        "plugin": item.plugin.name,
                        "distribution": item.plugin.distribution,
                        "version": item.plugin.version,
                        "summary": item.summary,
                    }
                    | papers.get(item.name, {})
                    for item in items
                ],
            }
        )
        return
    columns, cells = ["name", "what it is", "plugin"], [[i.name, i.summary, i.plugin.name] for i in items]
    if papers:
        columns = [*columns, "paper"]
        cells = [[*row, papers[row[0]]["paper"]] for row in cells]
    print_table("", columns, cells)
    for plugin in registry().plugins:
        if plugin.state == "failed":
            note(f"Plugin '{plugin.name}' ({plugin.distribution} {plugin.version}) is left out: {plugin.reason}")


def _paper(recipe: str) -> str:
    """The paper whose method a recipe is; empty for none, and for a recipe that `show` will refuse."""
    from mammozoo.config.recipe import load
    from mammozoo.errors import MammozooError

    try:
        return load(recipe).paper or ""
    except MammozooError:
        return ""
