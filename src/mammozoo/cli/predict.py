"""`mammozoo predict`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from mammozoo.evaluation.predict import Prediction
    from mammozoo.models.config import ModelConfig

UNCERTAIN = "uncertain"  # what stands in place of a label
_SHOWN = 20  # warnings, before the rest are only counted


def predict(
    images: list[str] = typer.Argument(
        None, help="Image files, folders (lesion masks in them are left out) or patterns."
    ),
    model: str = typer.Option(None, help="A run or model folder, or a zoo name; without it, the built-in model."),
    example: bool = typer.Option(False, "--example", help="Use the synthetic image that comes with the package."),
    abstain: bool = typer.Option(
        False, "--abstain", help="No label in the uncertain band around the threshold, chosen on validation."
    ),
    csv: Path = typer.Option(None, help="Also write the table to this CSV file."),
    batch: int = typer.Option(32, min=1, help="Images in a batch."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    precision: str = typer.Option("auto", help="auto, bf16 or fp32."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Say what a model thinks of images, and which of them it was not made for. Research only: not for diagnosis."""
    from mammozoo.errors import UsageError
    from mammozoo.evaluation.predict import find_images, predict_files, same_answer
    from mammozoo.files import sha256
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model
    from mammozoo.zoo.registry import default_model, find_model

    if example:
        images = [*(images or []), str(Path(__file__).parents[1] / "example.png")]
    if not images:
        raise UsageError("Which image? Give files, folders or patterns, or --example.")
    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"--precision is auto, bf16 or fp32, not '{precision}'.")
    files = find_images(images)
    folder = find_model(model or default_model())
    loaded, config = load_model(folder)
    engine = choose_engine(device, precision)
    results = list(predict_files(loaded, config, files, engine, batch, abstain=abstain))
    same = same_answer(results)
    remarks = [same] if same else []
    rows = _rows(results, config)
    if csv is not None:
        from mammozoo.training.run_directory import write_table  # here, because it brings scikit-learn

        write_table(csv, rows)
    if as_json:
        about = {"name": config.name, "sha256": sha256(folder / "model.safetensors"), **_decision(config)}
        print_json({"model": about, "warnings": remarks, "results": [dataclasses.asdict(r) for r in results]})
    else:
        _show(results, rows, config, abstain)
    for remark in remarks:
        note(f"! {remark}")
    if any(r.error for r in results):
        raise typer.Exit(1)


def _rows(results: Sequence[Prediction], config: ModelConfig) -> list[dict[str, str]]:
    return [
        {
            "file": r.file,
            "label": UNCERTAIN if r.abstained else r.label or "",
            **{f"p_{c}": "" if r.probabilities is None else f"{r.probabilities[c]:.6f}" for c in config.classes},
            "threshold": "" if r.threshold is None else f"{r.threshold:.6f}",
            "warnings": "; ".join(r.warnings),
            "error": r.error or "",
        }
        for r in results
    ]


def _decision(config: ModelConfig) -> dict[str, Any]:
    """The threshold in force (None for more than two classes, which have none) and the calibration (None without)."""
    threshold = None
    if len(config.classes) == 2:
        chosen = config.thresholds.get(config.threshold)
        threshold = {
            "name": config.threshold if chosen else "half",
            "value": config.cut(),
            "chosen_on": chosen.chosen_on if chosen else "nothing",
        }
    return {"threshold": threshold, "calibration": config.calibration and config.calibration.model_dump()}


def _show(results: Sequence[Prediction], rows: list[dict[str, str]], config: ModelConfig, abstain: bool) -> None:
    """A table of what could be read, and notes on the rest."""
    for stamp in config.stamps:
        note(f"! {stamp}")
    good = [row for row in rows if not row["error"]]
    if good:
        columns = [key for key in good[0] if key not in ("warnings", "error")]
        print_table("", columns, [[row[key] for key in columns] for row in good])
    warned = [f"! {r.file}: {text}" for r in results for text in r.warnings if text not in config.stamps]
    for line in warned[:_SHOWN]:
        note(line)
    if len(warned) > _SHOWN:
        note(f"! ... and {len(warned) - _SHOWN} more such warnings; --csv and --json hold them all.")
    for row in rows:
        if row["error"]:
            note(f"mammozoo: {row['error']}")
    if abstain and config.abstention is not None:
        note(
            f"Left undecided: {sum(r.abstained for r in results)} of {len(good)}. The uncertain band was chosen on "
            f"{config.abstention.chosen_on}: {config.abstention.share:.0%} of the images there lie in it."
        )
    note(_closing(config))
    note(f"Model: {config.name}. {config.intended_use}")


def _closing(config: ModelConfig) -> str:
    """What the labels and the probabilities rest on."""
    decision = _decision(config)
    threshold, calibration = decision["threshold"], decision["calibration"]
    text = "Label: the most probable class."
    if threshold is not None:
        text = (
            f"Label: {config.classes[1]} from {threshold['value']:.3f} on "
            f"(threshold {threshold['name']}, chosen on {threshold['chosen_on']})."
        )
    if calibration is None:
        return f"{text} Probabilities are not calibrated."
    fitted = f"temperature {calibration['temperature']:.2f}, fitted on {calibration['chosen_on']}"
    return f"{text} Probabilities are calibrated ({fitted})."
