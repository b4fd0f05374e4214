"""`mammozoo predict`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from mammozoo import api
from mammozoo.cli.options import Batch, Csv, Device, Images, Json, Precision
from mammozoo.cli.output import note, note_stamps, print_json, print_table
from mammozoo.errors import UsageError
from mammozoo.files import refuse_to_replace, sha256, write_table

if TYPE_CHECKING:
    from mammozoo.evaluation.predict import Prediction, PredictResult
    from mammozoo.evaluation.predict_units import UnitPrediction
    from mammozoo.models.config import ModelConfig

EXAMPLES = """
mammozoo predict --example
mammozoo predict lesion.png scans/ --model runs/first --abstain
mammozoo predict "scans/*.dcm" --csv out.csv --json
mammozoo predict women.csv --aggregate max --by breast
"""
_SHOWN = 20  # warnings, before the rest are only counted


def predict(
    images: Images = None,
    model: str = typer.Option(
        None, help="A zoo name, or the path of a run or model (./NAME); without it, the built-in model."
    ),
    example: bool = typer.Option(False, "--example", help="Use the synthetic image that comes with the package."),
    abstain: bool = typer.Option(
        False, "--abstain", help="No label in the uncertain band around the threshold, chosen on validation."
    ),
    force: bool = typer.Option(False, "--force", help="Answer also for images of another modality, and empty ones."),
    aggregate: str = typer.Option(
        None, help="mean, max or noisy-or: also one probability for each patient or breast of a table of images."
    ),
    by: str = typer.Option(
        "patient", help="What --aggregate makes one of: patient, breast or another column of the table."
    ),
    batch: Batch = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    csv: Csv = None,
    as_json: Json = False,
) -> None:
    """Predict the class of images, and warn of those that are not for this model. Research only: not for diagnosis."""
    from mammozoo.evaluation.image_table import read_listing, table_of
    from mammozoo.evaluation.predict import find_images, folders_of

    if example:
        images = [*(images or []), str(Path(__file__).parents[1] / "example.png")]
    if not images:
        raise UsageError("Which image? Give files, folders or patterns, or --example.")
    chosen = cast(Literal["auto", "bf16", "fp32"], precision)  # `predict` refuses others
    table = table_of(images)
    files = find_images(images) if table is None else read_listing(table).files
    if csv is not None:
        inputs = [*files, *folders_of(images), *([table] if table else [])]
        refuse_to_replace(csv, "predictions", inputs, option="--csv")
    result = api.predict(
        table or files,
        model,
        batch=batch,
        abstain=abstain,
        force=force,
        aggregate=aggregate,
        by=by,
        device=device,
        precision=chosen,
    )
    config, rows = result.config, _rows(result)
    if csv is not None:
        write_table(csv, rows)
    if as_json:
        used = {
            "name": config.name,
            "sha256": sha256(result.folder / "model.safetensors"),
            "threshold": _threshold(config),
            "calibration": config.calibration and config.calibration.model_dump(),
        }
        found = [dataclasses.asdict(prediction) for prediction in result.predictions]
        units = {"units": dataclasses.asdict(result.units)} if result.units else {}
        print_json({"model": used, "warnings": [result.remark] if result.remark else [], "results": found, **units})
    else:
        _show(result, rows, abstain)
    if result.remark:
        note(f"! {result.remark}")
    if any(prediction.error for prediction in result.predictions):
        raise typer.Exit(1)


def _rows(result: PredictResult) -> list[dict[str, str]]:
    """A row for each image; with units also one for each of these, told apart by the column `level`."""
    rows = [
        {
            "file": p.file,
            "label": "uncertain" if p.abstained else p.label or "",
            **_numbers(p, result.config),
            "warnings": "; ".join(p.warnings),
            "error": p.error or "",
        }
        for p in result.predictions
    ]
    if (units := result.units) is None:
        return rows
    bare = {"warnings": "", "error": ""}
    return [{"level": "image", "images": "", **row} for row in rows] + [
        {
            "level": units.by,
            "images": str(unit.images),
            "file": unit.unit,
            "label": unit.label or "",
            **_numbers(unit, result.config),
            **bare,
            **({"warnings": f"{unit.unanswered} images without an answer"} if unit.unanswered else {}),
        }
        for unit in units.predictions
    ]


def _numbers(answer: Prediction | UnitPrediction, config: ModelConfig) -> dict[str, str]:
    p, threshold = answer.probabilities, answer.threshold
    return {f"p_{c}": f"{p[c]:.6f}" if p else "" for c in config.classes} | {
        "threshold": "" if threshold is None else f"{threshold:.6f}"
    }


def _threshold(config: ModelConfig) -> dict[str, Any] | None:
    """The threshold in force; None for more than two classes, which have none."""
    if len(config.classes) > 2:
        return None
    chosen = config.thresholds.get(config.threshold)
    return {
        "name": config.threshold if chosen else "half",
        "value": config.cut(),
        "chosen_on": chosen.chosen_on if chosen else "nothing",
    }


def _show(result: PredictResult, rows: list[dict[str, str]], abstain: bool) -> None:
    """A table of the images that could be read, and notes."""
    config, predictions = result.config, result.predictions
    note_stamps(config.stamps)
    good = [row for row in rows[: len(predictions)] if not row["error"]]
    hidden = ("level", "images", "warnings", "error")
    if good:
        columns = [key for key in good[0] if key not in hidden]
        print_table("", columns, [[row[key] for key in columns] for row in good])
    if (units := result.units) is not None:
        rows = rows[len(predictions) :]
        columns = [key for key in rows[0] if key not in hidden]
        title = f"{units.how} of the images of each {units.by}"
        cells = [[*(row[key] for key in columns), row["images"]] for row in rows]
        print_table(title, [units.by, *columns[1:], "images"], cells)
        note(units.remark)
        if few := sum(unit.unanswered for unit in units.predictions):
            note(f"! {few} images have no answer and count in no {units.by}.")
    warned = [
        f"! {p.file}: {text}" for p in predictions if not p.error for text in p.warnings if text not in config.stamps
    ]
    for line in warned[:_SHOWN]:
        note(line)
    if len(warned) > _SHOWN:
        note(f"! ... and {len(warned) - _SHOWN} more such warnings; --csv and --json hold them all.")
    for prediction in predictions:
        if prediction.error:
            note(f"mammozoo: {prediction.error}")
    if abstain and (band := config.abstention) is not None:
        chosen = f"The uncertain band was chosen on {band.chosen_on}: {band.share:.0%} of the images there lie in it."
        note(f"Left undecided: {sum(p.abstained for p in predictions)} of {len(good)}. {chosen}")
    label = "Label: the most probable class."
    if (used := _threshold(config)) is not None:
        source = f"threshold {used['name']}, chosen on {used['chosen_on']}"
        label = f"Label: {config.classes[1]} from {used['value']:.3f} on ({source})."
    calibrated = "not calibrated"
    if (fit := config.calibration) is not None:
        calibrated = f"calibrated (temperature {fit.temperature:.2f}, fitted on {fit.chosen_on})"
    note(f"{label} Probabilities are {calibrated}.")
    note(f"Model: {config.name}. {config.intended_use}")
