"""`mammozoo compare`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from mammozoo.cli.output import print_json, print_table


def compare_runs(
    runs: list[Path] = typer.Argument(..., help="Two or more run folders."),
    metric: str = typer.Option("auc", help="Score to compare."),
    unpaired: bool = typer.Option(False, "--unpaired", help="Compare runs that were tested on different images."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Tell which run is better, with what certainty."""
    from mammozoo.errors import UsageError
    from mammozoo.evaluation.compare import Contender, compare
    from mammozoo.evaluation.predictions import read_test_predictions
    from mammozoo.plugins import registry

    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("One run is named twice.")
    chosen = registry().get("metrics", metric)
    contenders = [Contender(run.as_posix(), *read_test_predictions(run)) for run in runs]
    results = compare(contenders, chosen, paired=not unpaired)
    if as_json:
        print_json({"metric": metric, "rows": [dataclasses.asdict(result) for result in results]})
        return
    print_table(
        f"difference in {metric}, a minus b",
        ["a", "b", "difference", "95 % interval", "p", "p (Holm)", "test"],
        [
            (
                r.a,
                r.b,
                f"{r.difference:+.3f}",
                "" if r.low is None else f"{r.low:+.3f} to {r.high:+.3f}",
                f"{r.p:.3g}",
                f"{r.p_holm:.3g}",
                r.test,
            )
            for r in results
        ],
    )
