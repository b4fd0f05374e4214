"""`mammozoo report`."""

from __future__ import annotations

from pathlib import Path

import typer

from mammozoo.cli.output import note, progress, say

EXAMPLES = """
mammozoo report runs/first
mammozoo report runs/first --out page.html --no-heatmaps
"""


def report(
    run: Path = typer.Argument(..., help="Run folder."),
    out: Path = typer.Option(None, help="File to write; without it, report.html in the run's folder."),
    root: Path = typer.Option(None, help="Folder that holds the data now, for pictures of the worst mistakes."),
    heatmaps: bool = typer.Option(True, "--heatmaps/--no-heatmaps", help="Show the worst mistakes with heatmaps."),
) -> None:
    """Write a run's report. It is one HTML page with scores, curves, mistakes, settings and the CLAIM checklist."""
    from mammozoo.report.page import write_report

    with progress() as shown:
        path = write_report(run, root=root, heatmaps=heatmaps, out=out, progress=shown)
    note(f"Report: {path.stat().st_size / 1000:.0f} kB, complete in itself. Research only.")
    say(path)
