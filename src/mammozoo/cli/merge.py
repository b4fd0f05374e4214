"""`mammozoo merge`."""

from __future__ import annotations

from pathlib import Path

import typer

from mammozoo.cli.options import Json, output_option, read_roots
from mammozoo.cli.output import progress
from mammozoo.cli.train import show_run

EXAMPLES = """
mammozoo merge runs/five
mammozoo merge runs/five --root /scratch/BUSI
"""


def merge(
    run: Path = typer.Argument(..., help="Run folder with fits trained by `train --fit`."),
    root: list[str] = typer.Option(
        None, metavar="PATH", help="Folder that holds the data now; for several data sets NAME=PATH for each."
    ),
    report: bool = output_option(True, "--report/--no-report", help="Write report.html into the run."),
    as_json: Json = False,
) -> None:
    """Score a run whose fits were trained one by one. It checks that the fits are complete and consistent."""
    from mammozoo.training import apart

    with progress() as shown:
        roots = read_roots(root)
        show_run(apart.merge(run, shown, root=roots), shown, report, as_json, root=roots)
