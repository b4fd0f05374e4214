"""`mammozoo plugins`."""

from __future__ import annotations

import dataclasses

import typer

from mammozoo.cli.output import print_json, print_table

app = typer.Typer(help="The plugins that are installed, and what became of each.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `list` a sub-command although it is the only one."""


@app.command("list")
def list_plugins(
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """List every plugin with its version, what it adds, and why it failed if it did."""
    from mammozoo.plugins import KINDS, registry

    known = registry()
    for kind in KINDS:
        known.items(kind)
    if as_json:
        print_json({"items": [dataclasses.asdict(plugin) for plugin in known.plugins]})
        return
    rows = [
        (
            plugin.name,
            f"{plugin.distribution} {plugin.version}",
            plugin.state,
            plugin.reason or ", ".join(f"{len(names)} {kind}" for kind, names in plugin.adds.items() if names),
        )
        for plugin in known.plugins
    ]
    print_table("", ["plugin", "distribution", "state", "adds / reason"], rows)
