"""`mammozoo recalibrate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from mammozoo import api
from mammozoo.cli.options import Device, Json, ModelName
from mammozoo.cli.output import note, print_json, print_table, progress, say
from mammozoo.text import interval

EXAMPLES = """
mammozoo recalibrate runs/first ~/clinic/images.csv --out runs/here
mammozoo recalibrate runs/first ~/BUSBRA --threshold sensitivity:0.9 --out runs/here
"""


def recalibrate(
    model: ModelName,
    data: str = typer.Argument(..., help="Your labelled images (a folder or a table), or the name of a data set."),
    dataset: str = typer.Option(None, help="The data set, such as bus-bra; by default it is detected."),
    threshold: str = typer.Option(None, help="Rule for the threshold, such as youden; by default the model's own."),
    out: Path = typer.Option(..., help="New folder for the recalibrated model."),
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Choose temperature and threshold on your own labelled images, and estimate the effect. The weights do not change."""
    from mammozoo.config.names import reference_to

    with progress() as shown:
        result = api.recalibrate(model, data, dataset, threshold=threshold, out=out, device=device, progress=shown)
    if as_json:
        print_json(dataclasses.asdict(result) | {"folder": result.folder.as_posix()})
        return
    say(f"parent       {result.parent}, SHA-256 {result.sha256[:16]}…")
    say(f"chosen on    {result.images} images of {result.groups} groups")
    say(f"temperature  {result.before.temperature:.3f} → {result.after.temperature:.3f}")
    say(f"threshold    {result.before.cut:.3f} → {result.after.cut:.3f} ({result.rule})")
    rows = []
    for one in result.expected:
        cells = [f"{one.after[k]:.3f} ({interval(one.low[k], one.high[k])})" for k in range(3)]
        rows.append((one.images, *cells, ", ".join(f"{value:.3f}" for value in one.before)))
    if rows:
        head = ["images", "sensitivity", "specificity", "log loss", "as it was"]
        print_table("\nto expect on others, 95 % of the splits", head, rows)
    say(result.verdict)
    note(
        "These images cannot score the model, because they were used for the choice. Run `mammozoo evaluate` on other images."
    )
    say(f"{result.folder}\nTry: mammozoo predict {reference_to(result.folder)} IMAGE")
