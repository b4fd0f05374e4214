"""`mammozoo diagnose`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.options import Batch, Device, Json, Roots, data_option, output_option, read_roots
from mammozoo.cli.output import print_json, print_table, progress
from mammozoo.cli.which import Data, FirstModel, Model, model_and_data, one_data_set
from mammozoo.errors import UsageError
from mammozoo.files import refuse_to_replace, write_table

if TYPE_CHECKING:
    from mammozoo.report.diagnosis import Diagnosis

EXAMPLES = """
mammozoo diagnose runs/drs ~/BUSI --out diagnosis
mammozoo diagnose runs/drs phantom:n=100 --against runs/full
"""


def diagnose(
    first: FirstModel = None,
    data: Data = None,
    model: Model = None,
    against: str = typer.Option(
        None,
        metavar="MODEL",
        help="Another model with the same blocks; by default the weights that this one started from.",
    ),
    dataset: str = data_option(None, help="Same as DATA, such as busi or phantom:n=400."),
    root: Roots = None,
    images: int = data_option(100, min=1, help="Number of images to use, drawn from the model's classes."),
    seed: int = data_option(0, min=0, max=2**32 - 1, help="Seed of this draw."),
    batch: Batch = 8,
    device: Device = "auto",
    out: Path = output_option(None, help="Also write blocks.csv, shifts.csv, diagnosis.svg and diagnosis.png here."),
    as_json: Json = False,
) -> None:
    """Show, block by block, what training changed in a network.

    For each block: its activation rate, the change, and how far added layers moved from their start.
    """
    from mammozoo.data.joined import places
    from mammozoo.data.layouts import located
    from mammozoo.report.diagnosis import diagnose as examine

    chosen, rest = model_and_data(first, [data] if data else (), model)
    if (wanted := one_data_set(rest, dataset)) is None:
        raise UsageError("Which images? The order is [MODEL] [DATA]; see -h.")
    dataset, roots = located(wanted, read_roots(root))
    if out is not None:
        for name in ("blocks.csv", "shifts.csv", "diagnosis.svg", "diagnosis.png"):
            refuse_to_replace(out / name, name, places(roots))
    with progress() as shown:
        found = examine(
            chosen,
            dataset,
            roots,
            against=against,
            images=images,
            seed=seed,
            batch=batch,
            device=device,
            progress=shown,
        )
    if out is not None:
        from mammozoo.report.diagnosis import draw_diagnosis

        write_table(out / "blocks.csv", [dataclasses.asdict(block) for block in found.blocks])
        write_table(out / "shifts.csv", [dataclasses.asdict(shift) for shift in found.shifts])
        names = found.name, (against and Path(against).name) or found.against
        for suffix in ("svg", "png"):
            draw_diagnosis(out / f"diagnosis.{suffix}", found.blocks, found.shifts, names)
    if as_json:
        content = {key: value for key, value in dataclasses.asdict(found).items() if key != "name"}
        print_json({"model": chosen, "dataset": dataset, **content})
    else:
        _show(found)


def _show(found: Diagnosis) -> None:
    columns, rows = ["block", "where", "channels × height × width", "A"], []
    if found.against:
        columns += [f"A of {found.against}", "ΔA"]
    for b in found.blocks:
        shares = [share for share in (b.active, b.active_other, b.changed) if share is not None]
        shape = f"{b.channels} × {b.height} × {b.width}"
        rows.append([b.number, b.block, shape, *(f"{share:.3f}" for share in shares)])
    print_table(f"Activation of {found.images} images", columns, rows)
    moved = []
    for tensor in dict.fromkeys(shift.tensor for shift in found.shifts):
        known = [s for s in found.shifts if s.tensor == tensor and s.mean is not None]
        if known:
            numbers = sum(s.numbers for s in known)
            mean = sum((s.mean or 0) * s.numbers for s in known) / numbers
            moved.append((tensor, len(known), numbers, f"{mean:.4f}", f"{max(s.largest or 0 for s in known):.4f}"))
    if found.shifts:
        columns = ["tensor", "tensors", "numbers", "mean", "largest"]
        print_table("Distance of added tensors from their start, over all blocks", columns, moved)
