"""`mammozoo reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.options import Jobs, Json, Root, Settings, output_option, read_settings, recipe_option, stopping
from mammozoo.cli.output import note, print_json, print_table, progress, say
from mammozoo.errors import UsageError
from mammozoo.files import refuse_to_replace

if TYPE_CHECKING:
    from mammozoo.reproduction.runs import Task
    from mammozoo.training.run_directory import RunDirectory


EXAMPLES = """
mammozoo reproduce byra-2021 --root ~/BUSI --quick
mammozoo reproduce byra-2021 --root ~/BUSI --protocol sound --row drs --seeds 3
"""


def reproduce(
    paper: str = typer.Argument(..., help="Key of a paper (`mammozoo list papers`) or its YAML file."),
    root: Root = None,
    protocol: str = typer.Option("both", help="published, sound or both."),
    row: list[str] = typer.Option([], "--row", metavar="NAME", help="Only this row of the paper; may be repeated."),
    seeds: int = typer.Option(1, min=1, max=1000, help="Number of runs of each row, each with its own seed and split."),
    quick: bool = typer.Option(
        False, "--quick", help="Use the paper file's short settings, to test that everything works."
    ),
    backbone: str = recipe_option(None, help="Network to use instead of the recipe's."),
    weights: str = recipe_option(
        None, help="Starting weights to use instead: imagenet, random, file:PATH, zoo:NAME or run:FOLDER."
    ),
    settings: Settings = None,
    jobs: Jobs = 1,
    out: Path = output_option(None, help="Folder of the runs and tables; default runs/reproduce-PAPER."),
    report: bool = output_option(False, "--report/--no-report", help="Write report.html into every run."),
    dry_run: bool = output_option(False, "--dry-run", help="List the runs and their state; train nothing."),
    as_json: Json = False,
) -> None:
    """Repeat the experiments of a paper, by its own protocol and by a sound one.

    Their scores are set beside the reported ones. Complete runs are kept and interrupted ones resumed, so the same command
    continues after an interruption.
    """
    from mammozoo.report.page import write_report
    from mammozoo.reproduction import results as tables
    from mammozoo.reproduction.paper import PROTOCOLS, load_paper
    from mammozoo.reproduction.runs import plan_runs, train_tasks
    from mammozoo.training import parallel
    from mammozoo.training.checkpoint import Stopped

    if protocol not in (*PROTOCOLS, "both"):
        raise UsageError(f"--protocol is published, sound or both, not '{protocol}'.")
    chosen = load_paper(paper)
    given = {"root": None if root is None else str(root), "backbone": backbone, "weights": weights}
    wanted = (chosen.quick if quick else {}) | read_settings(settings)
    wanted |= {key: value for key, value in given.items() if value is not None}
    folder = out or Path("runs") / f"reproduce-{chosen.key}"
    protocols = [p for p in PROTOCOLS if p == protocol or (protocol == "both" and p in chosen.protocols)]
    tasks = plan_runs(chosen, folder, protocols=protocols, rows=row, seeds=seeds, settings=wanted)
    if dry_run:
        _show_tasks(tasks, as_json)
        return
    for name in tables.WRITTEN:
        refuse_to_replace(folder / name, name, [root])
    try:
        with progress() as shown, stopping() as stop:

            def on_run(run: RunDirectory) -> None:
                if report:
                    write_report(run.path, progress=shown)

            failed = train_tasks(tasks, shown, stop=stop, jobs=parallel.Jobs(jobs), on_run=on_run)
    except Stopped as stopped:
        note(
            f"mammozoo: stopped by a signal in {stopped}. To continue, repeat the command: mammozoo reproduce {paper} …"
        )
        raise typer.Exit(143) from None
    results = tables.collect(chosen, folder, failed)
    written = tables.write_tables(results, folder)
    if as_json:
        print_json({"out": folder.as_posix(), **tables.as_json(results)})
    else:
        print_table(results.paper.title, tables.COLUMNS, tables.rows(results))
        if results.gaps:
            print_table("What the published protocol adds", tables.GAP_COLUMNS, tables.gap_rows(results))
        if results.remarks:
            say("Departures:")
        for remark in results.remarks:
            say(f"  * {tables.remark_text(remark)}")
        say(", ".join(path.as_posix() for path in written))
    if failed:
        raise typer.Exit(1)


def _show_tasks(tasks: list[Task], as_json: bool) -> None:
    if as_json:
        rows = [
            {"protocol": t.protocol, "row": t.row, "seed": t.recipe.seed, "path": t.path.as_posix(), "state": t.state}
            for t in tasks
        ]
        print_json({"runs": rows})
        return
    cells = [
        (t.protocol, t.row, t.recipe.seed, t.state, t.recipe.backbone, t.recipe.strategy, t.path.as_posix())
        for t in tasks
    ]
    print_table("Runs", ["protocol", "row", "seed", "state", "network", "strategy", "folder"], cells)
