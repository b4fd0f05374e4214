"""`mammozoo predict`."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from mammozoo import api
from mammozoo.cli.options import Batch, Csv, Device, Json, Member, Precision, Tta
from mammozoo.cli.output import note, note_stamps, print_json, print_table, progress
from mammozoo.cli.which import FirstModel, Images, Model, split_model
from mammozoo.errors import UsageError
from mammozoo.files import refuse_to_replace, sha256, write_table

if TYPE_CHECKING:
    from mammozoo.evaluation.predict import Prediction, PredictResult
    from mammozoo.evaluation.predict_units import UnitPrediction
    from mammozoo.models.config import ModelConfig

EXAMPLES = """
mammozoo predict --example
mammozoo predict runs/first lesion.png scans/ --abstain
mammozoo predict "scans/*.dcm" --csv out.csv --json
mammozoo predict women.csv --aggregate max --by breast
mammozoo predict archive/ --csv part-2.csv --shard 2/8
"""
_SHOWN = 20  # warnings, before the rest are only counted
_MANY = 64  # images from which on progress is shown


def predict(
    first: FirstModel = None,
    images: Images = None,
    model: Model = None,
    member: Member = None,
    example: bool = typer.Option(False, "--example", help="Use the synthetic example image of the package."),
    abstain: bool = typer.Option(
        False,
        "--abstain",
        help="Give no label in the uncertain band around the threshold, which was chosen on validation.",
    ),
    force: bool = typer.Option(False, "--force", help="Predict also for empty images and images of another modality."),
    aggregate: str = typer.Option(
        None, help="mean, max or noisy-or: also give one probability for each patient or breast in a table of images."
    ),
    by: str = typer.Option("patient", help="Unit for --aggregate: patient, breast or another column of the table."),
    shard: str = typer.Option(
        None, metavar="I/N", help="Predict the I-th of N equal parts of the images, counted from 1; for N processes."
    ),
    tta: Tta = None,
    batch: Batch = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    csv: Csv = None,
    as_json: Json = False,
) -> None:
    """Predict the class of images, and warn about images that do not suit the model. Research only: not for diagnosis."""
    from mammozoo.evaluation.image_table import read_listing, table_of
    from mammozoo.evaluation.predict import find_images, folders_of

    model, images = split_model(first, images or (), model, paths_first=True)
    if example:
        images = [*images, str(Path(__file__).parents[1] / "example.png")]
    if not images:
        raise UsageError("Which image? Give files, folders or patterns, or --example.")
    chosen = cast(Literal["auto", "bf16", "fp32"], precision)  # `predict` refuses others
    if images == ["-"]:
        images = [line for line in sys.stdin.read().splitlines() if line]
        if not images:
            raise UsageError("No image was named: '-' reads a path from each line of the standard input.")
    table = table_of(images)
    files = find_images(images) if table is None else read_listing(table).files
    if shard is not None:
        if aggregate is not None:
            raise UsageError(
                "--shard separates images of one patient, so it cannot be combined with --aggregate. Use only one of them."
            )
        files, table = files[_part_of(shard, len(files))], None
    if csv is not None:
        inputs = [*files, *folders_of(images), *([table] if table else [])]
        refuse_to_replace(csv, "predictions", inputs, option="--csv")
    journal = None if csv is None else csv.with_name(f".{csv.name}.part")
    with progress() as shown:
        result = api.predict(
            table or files,
            model,
            member=member,
            batch=batch,
            abstain=abstain,
            force=force,
            aggregate=aggregate,
            by=by,
            tta=tta,
            device=device,
            precision=chosen,
            journal=journal,
            progress=shown if len(files) >= _MANY else None,
        )
    config, rows = result.config, _rows(result)
    if csv is not None:
        write_table(csv, rows)
    if journal is not None:
        journal.unlink(missing_ok=True)
    if as_json:
        from mammozoo.models.predictor import weights_of

        used = {
            "name": config.name,
            "sha256": sha256(weights_of(result.folder)),
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


def _part_of(shard: str, images: int) -> slice:
    """`2/8` as every eighth of the images, from the second on."""
    if not (match := re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)) or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {shard}: give I/N with I from 1 to N, such as 2/8 for the second of eight parts.")
    if int(match[1]) > images:
        raise UsageError(f"--shard {shard}: there are only {images} images, so this part has none.")
    return slice(int(match[1]) - 1, None, int(match[2]))


def _rows(result: PredictResult) -> list[dict[str, str]]:
    """A row for each image; with units also one for each of these, told apart by the column `level`."""
    rows = [
        {
            "file": p.file,
            "label": "uncertain" if p.abstained else p.label or "",
            **_numbers(p, result.config),
            **({"agreement": "" if p.agreement is None else f"{p.agreement:.2f}"} if result.config.members else {}),
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
            **({"agreement": ""} if result.config.members else {}),
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
        columns = [key for key in rows[0] if key not in (*hidden, "agreement")]
        title = f"{units.how} of the images of each {units.by}"
        cells = [[*(row[key] for key in columns), row["images"]] for row in rows]
        print_table(title, [units.by, *columns[1:], "images"], cells)
        note(units.remark)
        if few := sum(unit.unanswered for unit in units.predictions):
            note(f"! {few} images have no answer and are left out of every {units.by}.")
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
        split = " So is an image on which fewer than four in five of the models agree." if config.members else ""
        note(f"Left undecided: {sum(p.abstained for p in predictions)} of {len(good)}. {chosen}{split}")
    label = "Label: the most probable class."
    if (used := _threshold(config)) is not None:
        source = f"threshold {used['name']}, chosen on {used['chosen_on']}"
        label = f"Label: {config.classes[1]} from {used['value']:.3f} on ({source})."
    calibrated = "not calibrated"
    if (fit := config.calibration) is not None:
        each = config.members and fit.temperature == 1  # else they were recalibrated together
        by = "each model by its own temperature" if each else f"temperature {fit.temperature:.2f}"
        calibrated = f"calibrated ({by}, fitted on {fit.chosen_on})"
    note(f"{label} Probabilities are {calibrated}.")
    together = f", {len(config.members)} models together" if config.members else ""
    licence = f" (licence: {config.licence})" if config.licence else ""
    note(f"Model: {config.name}{together}{licence}. {config.intended_use}")
