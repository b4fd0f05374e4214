"""`mammozoo compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from mammozoo import api
from mammozoo.cli.options import Json
from mammozoo.cli.output import print_json, print_table

EXAMPLES = """
mammozoo compare runs/drs runs/frozen
mammozoo compare runs/drs runs/frozen runs/full --metric sensitivity
"""


def compare(
    runs: list[Path] = typer.Argument(..., help="Two or more run folders."),
    metric: str = typer.Option("auc", help="Score to compare."),
    unpaired: bool = typer.Option(False, "--unpaired", help="Compare runs that were tested on different images."),
    as_json: Json = False,
) -> None:
    """Compare runs: differences of a score with their intervals and tests."""
    results = api.compare(runs, metric, paired=not unpaired)
    if as_json:
        print_json({"metric": metric, "rows": [dataclasses.asdict(result) for result in results]})
        return
    rows = []
    for r in results:
        interval = "" if r.low is None else f"{r.low:+.3f} to {r.high:+.3f}"
        rows.append((r.a, r.b, f"{r.difference:+.3f}", interval, f"{r.p:.3g}", f"{r.p_holm:.3g}", r.test))
    columns = ["a", "b", "difference", "95 % interval", "p", "p (Holm)", "test"]
    print_table(f"difference in {metric}, a minus b", columns, rows)
