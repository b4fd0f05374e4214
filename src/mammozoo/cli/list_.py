"""`mammozoo list`."""

from __future__ import annotations

import typer

from mammozoo.cli.output import note, print_json, print_table


def list_items(
    kind: str = typer.Argument(..., help="datasets, backbones, strategies, heads, metrics, transforms or recipes."),
    match: str = typer.Option("", help="Only names that contain this."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """List what the plugins provide."""
    from mammozoo.errors import UsageError, nearest
    from mammozoo.plugins import KINDS, registry

    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{nearest(kind, KINDS)} There are {', '.join(KINDS)}.")
    items = [item for item in registry().items(kind).values() if match in item.name]
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
                    for item in items
                ],
            }
        )
        return
    print_table("", ["name", "what it is", "plugin"], [(i.name, i.summary, i.plugin.name) for i in items])
    for plugin in registry().plugins:
        if plugin.state == "failed":
            note(f"Plugin '{plugin.name}' ({plugin.distribution} {plugin.version}) is left out: {plugin.reason}")
