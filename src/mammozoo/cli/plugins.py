"""`mammozoo plugins`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from mammozoo.cli.output import note, print_json, print_table

app = typer.Typer(help="The plugins that are installed, and what became of each.", no_args_is_help=True)


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


@app.command("check")
def check_plugin(
    name: str = typer.Argument(help="An installed plugin, as `mammozoo plugins list` names it."),
    only: list[str] = typer.Option(
        [], "--only", help="Check these things of it alone, by name or pattern; repeatable."
    ),
    with_: list[str] = typer.Option(
        [], "--with", help="Options for a thing that has no default for them, as in gamma:layer=2; repeatable."
    ),
    backbone: str = typer.Option("test_resnet", "--backbone", help="The network on which strategies are tried."),
    root: Path | None = typer.Option(None, "--root", help="Folder of the data, for a data set that needs one."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Hold a plugin to the contract: run the named checks of everything that it brings; exit 1 if one fails."""
    from collections import Counter

    from mammozoo.testing import checks, run

    todo = checks(name, only=only, specs=with_, backbone=backbone, root=root)
    _refuse_hundreds(name, len({check.item for check in todo}))
    results = [run(check) for check in todo]
    failed = [result for result in results if result.state == "failed"]
    if as_json:
        print_json({"plugin": name, "failed": len(failed), "items": [dataclasses.asdict(result) for result in results]})
    else:
        rows = [(result.check, f"{result.kind}: {result.item}", result.state, result.reason) for result in results]
        print_table("", ["check", "item", "result", "reason"], rows)
        count = Counter(result.state for result in results)
        note(f"{len(results)} checks: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped.")
    if failed:
        raise typer.Exit(1)


def _refuse_hundreds(name: str, count: int) -> None:
    """Each thing takes about a second, and a catalogue of a thousand networks would take all day."""
    from mammozoo.errors import UsageError

    if count > 100:
        raise UsageError(
            f"Plugin '{name}' brings {count} things; choose some of them with --only, as in --only 'resnet*'."
        )
