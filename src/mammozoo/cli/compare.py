"""`mammozoo compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from mammozoo import api
from mammozoo.cli.options import Columns, Json, Negative, Positive, Truth, Where
from mammozoo.cli.output import print_json, print_table, progress, say

EXAMPLES = """
mammozoo compare runs/drs runs/frozen
mammozoo compare runs/drs runs/frozen runs/full --metric sensitivity
mammozoo compare theirs.csv runs/ours --truth truth.csv
"""


def compare(
    runs: list[Path] = typer.Argument(..., help="Two or more run folders, or tables of predictions."),
    metric: str = typer.Option(
        "auc", help="Score to compare, as printed by train; auc[malignant] is the score of one class."
    ),
    unpaired: bool = typer.Option(False, "--unpaired", help="Compare runs that were tested on different images."),
    rank_sum: bool = typer.Option(
        False, "--rank-sum", help="Also give the rank-sum test of Byra 2021, which is not valid."
    ),
    truth: Truth = None,
    columns: Columns = None,
    positive: Positive = None,
    negative: Negative = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Compare runs: say which is better, or that the data cannot tell, with intervals and tests of the difference."""
    with progress() as shown:
        results = api.compare(
            runs, metric, paired=not unpaired, rank_sum=rank_sum, truth=truth, columns=columns or (), positive=positive,
            negative=negative, where=where, progress=shown,
        )  # fmt: skip
    if as_json:
        print_json({"metric": metric, "rows": [dataclasses.asdict(result) for result in results]})
        return
    from mammozoo.evaluation.compare import BOOTSTRAP, UNPAIRED

    for r in results:
        if r.test in (BOOTSTRAP, UNPAIRED):
            say(r)
    rows = []
    for r in results:
        interval = "" if r.low is None else f"{r.low:+.3f} to {r.high:+.3f}"
        p = ("–" if p is None else f"{p:.3g}" for p in (r.p, r.p_holm))
        rows.append((r.a, r.b, r.score, f"{r.difference:+.3f}", interval, *p, r.test))
    columns = ["a", "b", "score", "a minus b", "95 % interval", "p", "p (Holm)", "test"]
    print_table("", columns, rows)
