"""`mammozoo embed`."""

from __future__ import annotations

from pathlib import Path

import typer

from mammozoo import api
from mammozoo.cli.options import Device, ModelName
from mammozoo.cli.output import progress, say

EXAMPLES = """
mammozoo embed runs/first ~/BUSI --out busi.npz
mammozoo embed busi-resnet9 ~/clinic/images.csv --out clinic.csv
mammozoo embed runs/first phantom:n=60 --out phantoms.npz
"""


def embed(
    model: ModelName,
    data: str = typer.Argument(..., help="Your labelled images, a folder or a table; or the name of a data set."),
    dataset: str = typer.Option(None, help="The data set, such as bus-bra; by default it is detected."),
    out: Path = typer.Option(..., help="New file: .npz or .csv."),
    member: str = typer.Option(
        None, help="One model of a run with several, such as fold-2; by default the representative one."
    ),
    device: Device = "auto",
) -> None:
    """Write an embedding of each image: the mean of the network's feature maps, with names, classes and groups."""
    with progress() as shown:
        made = api.embed(model, data, dataset, out=out, member=member, device=device, progress=shown)
    say(out)
    say(f"{len(made.ids)} images, {made.values.shape[1]} numbers each, {len({*made.groups})} groups")
