"""`mammozoo plugins`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import typer

from mammozoo.cli.options import Command, Group, Json, Root
from mammozoo.cli.output import note, print_json, print_table, progress, say
from mammozoo.errors import FailedError, UsageError

app = typer.Typer(help="Installed plugins: list, write, check.", no_args_is_help=True, cls=Group)


@app.command("list", cls=Command, epilog="mammozoo plugins list")
def list_plugins(as_json: Json = False) -> None:
    """List every plugin with its version and what it adds, or the reason why it failed."""
    from mammozoo.plugins import registry

    known = registry().survey()
    if as_json:
        print_json({"items": [dataclasses.asdict(p) | {"seconds": round(p.seconds, 3)} for p in known]})
        return
    rows = []
    for plugin in known:
        lines = [plugin.reason or plugin.brings, *(f"note: {remark}" for remark in plugin.notes)]
        version = f"{plugin.distribution} {plugin.version}"
        rows.append((plugin.name, version, plugin.state, "\n".join(filter(None, lines))))
    print_table("", ["plugin", "distribution", "state", "adds / reason"], rows)


@app.command("new", cls=Command, epilog="mammozoo plugins new our-hospital --kind dataset")
def new_plugin(
    name: str = typer.Argument(help="Name of the package and of what it provides, such as our-hospital."),
    kind: str = typer.Option(..., "--kind", help="dataset, backbone, strategy or metric."),
    out: Path = typer.Option(Path(), "--out", help="Parent folder of the new package; by default the current folder."),
    as_json: Json = False,
) -> None:
    """Write a plugin package that works: one module with its hook, tests, README, CI file."""
    from mammozoo.scaffold import write

    package = write(name, kind, out)
    names = package.names
    if as_json:
        about = {"name": names.name, "kind": package.kind, "distribution": names.distribution, "module": names.module}
        files = {"folder": package.folder.as_posix(), "files": list(package.files), "next": list(package.next)}
        print_json(about | files)
        return
    for path in package.files:
        say((package.folder / path).as_posix())
    note(f"\n{names.distribution} is written: a {package.kind} '{names.name}'. Next:\n")
    for line in package.next:
        note(f"  {line}")


@app.command("check", cls=Command, epilog="mammozoo plugins check drs\nmammozoo plugins check basics --only 'heads:*'")
def check_plugin(
    name: str = typer.Argument(help="An installed plugin, as `mammozoo plugins list` names it."),
    only: list[str] = typer.Option(
        [], "--only", help="Check only these things, by name, pattern or kind, as in 'heads:*'; repeatable."
    ),
    with_: list[str] = typer.Option(
        [], "--with", help="Options for a thing without defaults, as in gamma:layer=2; repeatable."
    ),
    backbone: str = typer.Option("test_resnet", "--backbone", help="Network on which strategies are tested."),
    root: Root = None,
    timeout: float = typer.Option(600.0, "--timeout", min=0, help="Seconds after which a check fails; 0 for no limit."),
    as_json: Json = False,
) -> None:
    """Check everything that a plugin provides against the plugin contract; exit code 1 if a check fails."""
    from mammozoo.testing import checks, run
    from mammozoo.testing.sandbox import TooLong, captured, limited

    try:
        with captured(), limited(timeout):  # its import and its hooks may print or hang, too
            todo = checks(name, only=only, specs=with_, backbone=backbone, root=root)
    except TooLong:
        reason = f"Loading the plugins took longer than {timeout:g} seconds; give more by --timeout."
        raise FailedError(reason) from None
    things = {(check.kind, check.item) for check in todo}
    if len(things) > 100:  # each takes about a second, and a catalogue of a thousand networks would take all day
        counts = Counter(kind for kind, _ in things if kind != "plugins")
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        raise UsageError(
            f"Plugin '{name}' brings more than can be checked in one go ({kinds}; a network takes seconds). Choose with --only, by "
            "name (--only resnet18), pattern (--only 'resnet*') or kind (--only 'heads:*'); several may be given."
        )
    results = []
    with progress() as shown:
        shown.start(f"Checking {name}", len(todo), "checks")
        for check in todo:
            results.append(run(check, timeout))
            shown.advance()
    failed = [result for result in results if result.state == "failed"]
    if as_json:
        print_json({"plugin": name, "failed": len(failed), "items": [dataclasses.asdict(result) for result in results]})
    else:
        rows = [(result.check, f"{result.kind}: {result.item}", result.state) for result in results]
        print_table("", ["check", "item", "result"], rows)
        for state in ("failed", "skipped"):
            reasons = Counter(result.reason for result in results if result.state == state)  # each is printed once
            for reason, times in reasons.items():
                say(f"{state}{f' ({times} checks)' if times > 1 else ''}: {reason}\n")
        count = Counter(result.state for result in results)
        note(f"{len(results)} checks: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped.")
    if failed:
        raise typer.Exit(1)
