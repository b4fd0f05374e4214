"""`mammozoo diagnose`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.output import note, print_json, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from mammozoo.data.preprocessing import Input
    from mammozoo.evaluation.diagnosis import BlockActivity, Shift
    from mammozoo.models.backbone import Backbone
    from mammozoo.models.config import ModelConfig
    from mammozoo.progress import Progress


def diagnose(
    model: str = typer.Argument(..., help="A run or model folder, or a zoo name."),
    against: str = typer.Option(
        None,
        metavar="MODEL",
        help="Another model with the same blocks; default: the weights that this one started from.",
    ),
    dataset: str = typer.Option(..., help="Data set with options, such as busi or phantom:n=400."),
    root: Path = typer.Option(None, help="Folder (or CSV file) that holds the data."),
    images: int = typer.Option(100, min=1, help="Images to look at, drawn from those of the model's classes."),
    seed: int = typer.Option(0, help="Seed of that draw."),
    batch: int = typer.Option(8, min=1, help="Images in a batch."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    out: Path = typer.Option(None, help="Also write blocks.csv, shifts.csv, diagnosis.svg and diagnosis.png here."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Show block by block how much of a network is active, what training changed, and how far added layers have moved."""
    from mammozoo.errors import IncompatibleError
    from mammozoo.evaluation.diagnosis import activity, block_ends, shifts
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model
    from mammozoo.zoo.registry import find_model

    folder = find_model(model)
    own, config = load_model(folder)
    ends = block_ends(config.backbone)
    if against is not None:
        other_model, other_config = load_model(find_model(against))
        if config.input != other_config.input or ends != block_ends(other_config.backbone):
            raise IncompatibleError(
                f"'{model}' ({config.backbone}, {_size(config)}) and '{against}' ({other_config.backbone}, "
                f"{_size(other_config)}) have other blocks or look at other inputs; a diagnosis needs the same ones."
            )
        other: Backbone | None = other_model.backbone
    else:
        other = _start(folder, config)
    engine = choose_engine(device, "fp32")  # rounding to bfloat16 would move signs
    shown = progress()
    try:
        pixels = _pixels(config, dataset, root, images, seed, shown)
    finally:
        shown.stop()
    networks = [network.to(engine.device).eval() for network in (own.backbone, other) if network is not None]
    with engine.autocast():
        blocks = activity(networks[0], ends, _batches(pixels, batch, config.input, engine.device), *networks[1:])
    moved = shifts(config, own.backbone.state_dict(), ends)
    beside = against or ("its starting weights" if other is not None else None)
    if out is not None:
        _write(out, blocks, moved, (folder.name, (against and Path(against).name) or beside))
    if as_json:
        print_json(
            {
                "model": model, "against": beside, "dataset": dataset, "images": len(pixels),
                "blocks": [dataclasses.asdict(block) for block in blocks],
                "shifts": [dataclasses.asdict(shift) for shift in moved],
            }
        )  # fmt: skip
        return
    _show(blocks, moved, len(pixels), beside)


def _size(config: ModelConfig) -> str:
    return f"{config.input.size[0]}×{config.input.size[1]}"


def _start(folder: Path, config: ModelConfig) -> Backbone | None:
    """The plain network with the weights that a run started from; None where its folder does not lead to them."""
    from mammozoo.config.recipe import load
    from mammozoo.errors import MammozooError
    from mammozoo.models.factory import build_backbone, build_strategy, default_weights, load_starting_weights
    from mammozoo.models.randomness import seeded
    from mammozoo.zoo.registry import find_model

    try:
        if config.training.stages:
            raise MammozooError("it went through earlier stages")
        recipe = load(str(folder / "recipe.yaml"))
        weights = default_weights(recipe.backbone) if recipe.weights == "auto" else recipe.weights
        with seeded(recipe.seed):  # as training does, so that random weights are the same
            backbone = build_backbone(recipe.backbone)
        load_starting_weights(
            backbone, recipe.backbone, build_strategy(recipe.strategy).starting_weights or weights, find_model
        )
    except MammozooError as error:
        note(f"Without --against there are no change rates: the starting weights are not at hand ({error}).")
        return None
    backbone.input = config.input
    return backbone


def _pixels(
    config: ModelConfig, dataset: str, root: Path | None, images: int, seed: int, shown: Progress
) -> torch.Tensor:
    """(N, H, W, C) prepared images, drawn without replacement."""
    import numpy as np
    import torch

    from mammozoo.data.decoding import decode_cached
    from mammozoo.data.loaded import open_dataset
    from mammozoo.errors import UsageError

    opened = open_dataset(dataset, root)
    wanted = {label for text in config.asked for label in text.rpartition("=")[2].split("|")}
    samples = [sample for sample in opened.samples() if sample.label in wanted]
    if not samples:
        raise UsageError(f"Data set '{dataset}' has no image of the model's classes {', '.join(config.asked)}.")
    for remark in opened.notes:
        shown.note(remark)
    drawn = np.random.default_rng(seed).permutation(len(samples))[:images]
    chosen = [samples[i] for i in np.sort(drawn)]
    shown.start("reading images", len(chosen))
    return torch.from_numpy(decode_cached(opened, chosen, config.input, shown.advance).pixels)


def _batches(pixels: torch.Tensor, size: int, input: Input, device: torch.device) -> Iterator[torch.Tensor]:
    import torch

    for batch in torch.split(pixels, size):
        yield input.normalize(batch.to(device))


def _write(out: Path, blocks: Sequence[BlockActivity], moved: Sequence[Shift], names: tuple[str, str | None]) -> None:
    from mammozoo.report.diagnosis import draw_diagnosis
    from mammozoo.training.run_directory import write_table

    write_table(out / "blocks.csv", [dataclasses.asdict(block) for block in blocks])
    write_table(out / "shifts.csv", [dataclasses.asdict(shift) for shift in moved])
    for suffix in ("svg", "png"):
        draw_diagnosis(out / f"diagnosis.{suffix}", blocks, moved, names)


def _show(blocks: Sequence[BlockActivity], moved: Sequence[Shift], images: int, beside: str | None) -> None:
    columns, rows = ["block", "where", "channels × height × width", "A"], []
    if beside:
        columns += [f"A of {beside}", "ΔA"]
    for block in blocks:
        row = [
            str(block.number),
            block.block,
            f"{block.channels} × {block.height} × {block.width}",
            f"{block.active:.3f}",
        ]
        if block.active_other is not None and block.changed is not None:
            row += [f"{block.active_other:.3f}", f"{block.changed:.3f}"]
        rows.append(row)
    print_table(f"Activation of {images} images", columns, rows)
    if not moved:
        return
    kinds = dict.fromkeys(shift.tensor for shift in moved)
    known = [(kind, [s for s in moved if s.tensor == kind and s.mean is not None]) for kind in kinds]
    print_table(
        "Distance of added tensors from their start, over all blocks",
        ["tensor", "tensors", "numbers", "mean", "largest"],
        [
            (
                kind, len(own), sum(s.numbers for s in own),
                f"{sum((s.mean or 0) * s.numbers for s in own) / sum(s.numbers for s in own):.4f}",
                f"{max(s.largest or 0 for s in own):.4f}",
            )
            for kind, own in known
            if own
        ],
    )  # fmt: skip
