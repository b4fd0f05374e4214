"""`mammozoo reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.output import note, print_json, print_table, progress
from mammozoo.cli.settings import read_settings, stopping

if TYPE_CHECKING:
    from mammozoo.reproduction.paper import Paper, ProtocolName
    from mammozoo.reproduction.results import Results
    from mammozoo.reproduction.runs import Task
    from mammozoo.training.run_directory import RunDirectory


def reproduce(
    paper: str = typer.Argument(..., help="Key of a paper (`mammozoo list papers`) or its YAML file."),
    root: Path = typer.Option(None, help="Folder that holds the data."),
    protocol: str = typer.Option("both", help="published, sound or both."),
    row: list[str] = typer.Option([], "--row", metavar="NAME", help="Only this row of the paper; may be repeated."),
    seeds: int = typer.Option(1, min=1, help="Times that each row is run, each with its own seed and split."),
    quick: bool = typer.Option(False, "--quick", help="The paper file's short settings, to see that all works."),
    backbone: str = typer.Option(None, help="Another network than the recipes'."),
    weights: str = typer.Option(None, help="Other starting weights: imagenet, random, file:PATH or zoo:NAME."),
    settings: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Any recipe key, such as epochs=5."),
    out: Path = typer.Option(None, help="Folder of the runs and tables; default runs/reproduce-PAPER."),
    jobs: int = typer.Option(1, min=1, help="Fits (folds, points of a grid, repeats) at once, each in a process."),
    report: bool = typer.Option(False, "--report/--no-report", help="Write report.html into every run."),
    dry_run: bool = typer.Option(False, "--dry-run", help="List the runs and their state; train nothing."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Run what a paper reported, by its protocol and by a sound one, and set the numbers side by side.

    Complete runs are kept and begun ones go on, so the same command continues after an interruption.
    """
    from mammozoo.errors import UsageError
    from mammozoo.reproduction.paper import PROTOCOLS, load_paper
    from mammozoo.reproduction.results import collect
    from mammozoo.reproduction.runs import plan_runs
    from mammozoo.reproduction.tables import as_json as content
    from mammozoo.reproduction.tables import write_tables

    if protocol not in (*PROTOCOLS, "both"):
        raise UsageError(f"--protocol is published, sound or both, not '{protocol}'.")
    chosen = load_paper(paper)
    given = {"root": None if root is None else str(root), "backbone": backbone, "weights": weights}
    wanted = (chosen.quick if quick else {}) | read_settings(settings)
    wanted |= {key: value for key, value in given.items() if value is not None}
    folder = out or Path("runs") / f"reproduce-{chosen.key}"
    tasks = plan_runs(chosen, folder, protocols=_protocols(chosen, protocol), rows=row, seeds=seeds, settings=wanted)
    if dry_run:
        _show_tasks(tasks, as_json)
        return
    failed = _train(tasks, paper, jobs, report)
    results = collect(chosen, folder, failed)
    written = write_tables(results, folder)
    if as_json:
        print_json({"out": folder.as_posix(), **content(results)})
    else:
        _show(results)
        typer.echo(f"{', '.join(path.as_posix() for path in written)}")
    if failed:
        raise typer.Exit(1)


def _protocols(paper: Paper, asked: str) -> list[ProtocolName]:
    from mammozoo.reproduction.paper import PROTOCOLS

    if asked == "both":
        return [name for name in PROTOCOLS if name in paper.protocols]
    return [name for name in PROTOCOLS if name == asked]


def _train(tasks: list[Task], paper: str, jobs: int, report: bool) -> dict[Path, str]:
    from mammozoo.report.page import write_report
    from mammozoo.reproduction.runs import train_tasks
    from mammozoo.training.checkpoint import Stopped
    from mammozoo.training.experiment import Jobs

    shown = progress()

    def on_run(run: RunDirectory) -> None:
        if report:
            write_report(run.path, progress=shown)

    try:
        with stopping() as stop:
            return train_tasks(tasks, shown, stop=stop, jobs=Jobs(jobs), on_run=on_run)
    except Stopped as stopped:
        note(f"mammozoo: stopped by a signal in {stopped}. The same command goes on: mammozoo reproduce {paper} …")
        raise typer.Exit(143) from None
    finally:
        shown.stop()


def _show_tasks(tasks: list[Task], as_json: bool) -> None:
    if as_json:
        rows = [
            {"protocol": t.protocol, "row": t.row, "seed": t.recipe.seed, "path": t.path.as_posix(), "state": t.state}
            for t in tasks
        ]
        print_json({"runs": rows})
        return
    print_table(
        "Runs",
        ["protocol", "row", "seed", "state", "network", "strategy", "folder"],
        [
            (t.protocol, t.row, t.recipe.seed, t.state, t.recipe.backbone, t.recipe.strategy, t.path.as_posix())
            for t in tasks
        ],
    )


def _show(results: Results) -> None:
    from mammozoo.reproduction.tables import COLUMNS, GAP_COLUMNS, gap_rows, remark_text, rows

    print_table(results.paper.title, COLUMNS, rows(results))
    if results.gaps:
        print_table("What the published protocol adds", GAP_COLUMNS, gap_rows(results))
    if results.remarks:
        typer.echo("Departures:")
        for remark in results.remarks:
            typer.echo(f"  * {remark_text(remark)}")
