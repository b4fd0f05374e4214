"""`mammozoo evaluate`."""

from __future__ import annotations

from pathlib import Path

import typer

from mammozoo.cli.output import note, print_json, print_scores, progress


def evaluate(
    model: str = typer.Argument(..., help="A run or model folder, or a zoo name."),
    dataset: str = typer.Option(..., help="Data set with options, such as busi or phantom:n=400."),
    root: Path = typer.Option(None, help="Folder (or CSV file) that holds the data."),
    csv: Path = typer.Option(None, help="Also write every prediction to this CSV file."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Score a model on a data set, with intervals; says so when the model has seen the images."""
    from mammozoo import experiment
    from mammozoo.evaluation.scores import as_json as scores_as_json
    from mammozoo.training.run import write_table
    from mammozoo.zoo.registry import find_model

    shown = progress()
    try:
        result = experiment.evaluate(find_model(model), dataset, root, device=device, progress=shown)
    finally:
        shown.stop()
    if csv is not None:
        write_table(csv, result.rows)
    scores = scores_as_json(result.scores)
    if as_json:
        print_json(
            {
                "model": result.config.name,
                "dataset": result.dataset,
                "n": result.n,
                "split": "all",
                "threshold": result.config.threshold or None,
                "stamps": list(result.stamps),
                "scores": scores,
            }
        )
        return
    for stamp in result.stamps:
        note(f"! {stamp}")
    print_scores(scores)
    if result.config.threshold:
        note(f"Threshold: {result.config.threshold} ({result.config.cut():.3f}, chosen on validation).")
