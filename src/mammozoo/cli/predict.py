"""`mammozoo predict`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import typer

from mammozoo.cli.output import note, print_json, print_table


def predict(
    images: list[str] = typer.Argument(
        None, help="Image files, folders (lesion masks in them are left out) or patterns."
    ),
    model: str = typer.Option(None, help="A run or model folder, or a zoo name; without it, the built-in model."),
    example: bool = typer.Option(False, "--example", help="Use the synthetic image that comes with the package."),
    csv: Path = typer.Option(None, help="Also write the table to this CSV file."),
    batch: int = typer.Option(32, min=1, help="Images in a batch."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    precision: str = typer.Option("auto", help="auto, bf16 or fp32."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Say what a model thinks of images. Research only: not for diagnosis."""
    from mammozoo.errors import UsageError
    from mammozoo.evaluation.predict import find_images, predict_files
    from mammozoo.files import sha256
    from mammozoo.models.build import load_model
    from mammozoo.models.engine import choose_engine
    from mammozoo.training.run import write_table
    from mammozoo.zoo.registry import default_model, find_model

    if example:
        images = [*(images or []), str(Path(__file__).parents[1] / "example.png")]
    if not images:
        raise UsageError("Which image? Give files, folders or patterns, or --example.")
    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"--precision is auto, bf16 or fp32, not '{precision}'.")
    files = find_images(images)
    name = model or default_model()
    folder = find_model(name)
    loaded, config = load_model(folder)
    results = list(predict_files(loaded, config, files, choose_engine(device, precision), batch))
    rows = [
        {
            "file": r.file,
            "label": r.label or "",
            **{f"p_{c}": "" if r.probabilities is None else f"{r.probabilities[c]:.6f}" for c in config.classes},
            "threshold": "" if r.threshold is None else f"{r.threshold:.6f}",
            "warnings": "; ".join(r.warnings),
            "error": r.error or "",
        }
        for r in results
    ]
    if csv is not None:
        write_table(csv, rows)
    if as_json:
        digest = sha256(folder / "model.safetensors")
        print_json(
            {"model": {"name": config.name, "sha256": digest}, "results": [dataclasses.asdict(r) for r in results]}
        )
    else:
        for stamp in config.stamps:
            note(f"! {stamp}")
        good = [row for row in rows if not row["error"]]
        if good:
            columns = [key for key in good[0] if key not in ("warnings", "error")]
            print_table("", columns, [[row[key] for key in columns] for row in good])
        for row in rows:
            if row["error"]:
                note(f"mammozoo: {row['error']}")
        note(f"Model: {config.name}. {config.intended_use}")
    if any(r.error for r in results):
        raise typer.Exit(1)
