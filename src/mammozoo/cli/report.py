"""`mammozoo report`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import typer

from mammozoo.cli.options import Columns, Negative, Positive, Truth, Where, read_roots
from mammozoo.cli.output import note, progress, say
from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.evaluation.intervals import Kind

EXAMPLES = """
mammozoo report runs/first
mammozoo report runs/first --out page.html --no-heatmaps
mammozoo report runs/first --format md
mammozoo report theirs.csv --truth truth.csv --subgroup device --root images
mammozoo report runs/first --subgroup shape --paper paper
"""


def report(
    run: Path = typer.Argument(..., help="Run folder, or a table of predictions."),
    out: Path = typer.Option(
        None,
        help="File to write; by default report.html in the run's folder, or NAME.report.html in the table's folder.",
    ),
    root: list[str] = typer.Option(
        None, metavar="PATH", help="Folder that holds the data now, for pictures of the worst mistakes."
    ),
    heatmaps: bool = typer.Option(True, "--heatmaps/--no-heatmaps", help="Show the worst mistakes with heatmaps."),
    format: str = typer.Option("html", "--format", help="For a run: html, or md for a supplement in Markdown."),
    subgroup: str = typer.Option(
        None, metavar="COLUMNS", help="For a table or --paper: scores for each value of columns, such as device,birads."
    ),
    threshold: str = typer.Option(None, help="For a table: a number that was chosen elsewhere."),
    interval: str = typer.Option("bca", help="For a table: bca or percentile."),
    paper: Path = typer.Option(
        None, metavar="DIR", help="Also write tables, figures and paragraphs for a paper into this new folder."
    ),
    truth: Truth = None,
    columns: Columns = None,
    positive: Positive = None,
    negative: Negative = None,
    where: Where = None,
) -> None:
    """Write a run's report: one HTML page with scores, curves, mistakes, settings and the CLAIM checklist."""
    from mammozoo.evaluation.prediction_table import is_table
    from mammozoo.evaluation.selection import ALL, Selection
    from mammozoo.report.page import write_report
    from mammozoo.report.table_page import write_table_report

    selection = Selection.of(truth, columns or (), positive, negative, where)
    roots = read_roots(root)
    table = is_table(run)
    if paper is not None:
        from mammozoo.report.paper import free_folder, material_of, write_paper

        free_folder(paper)
    with progress() as shown:
        if table:
            if format != "html":
                raise UsageError("The report of a table is HTML: leave --format out.")
            if isinstance(roots, Mapping):
                raise UsageError("The pictures of a table must be in one --root.")
            path = write_table_report(
                run,
                selection,
                root=roots,
                subgroup=subgroup,
                threshold=threshold,
                interval=cast("Kind", interval),
                out=out,
            )
        elif selection != ALL or (subgroup and not paper) or threshold or interval != "bca":
            raise UsageError(
                "A run's report is of the whole run: other options than --out, --root, --heatmaps and --paper are for a table."
            )
        else:
            given = cast('Literal["html", "md"]', format)  # `write_report` refuses others
            path = write_report(run, root=roots, heatmaps=heatmaps, format=given, out=out, progress=shown)
        if paper is not None:
            kind = cast("Kind", interval)
            write_paper(paper, material_of(run, selection, subgroup=subgroup, threshold=threshold, interval=kind))
    note(f"Report: {path.stat().st_size / 1000:.0f} kB, complete in itself. Research only.")
    say(path)
    if paper is not None:
        say(paper)
