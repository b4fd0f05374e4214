"""`mammozoo evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.output import note, print_json, print_scores, print_table, progress

if TYPE_CHECKING:
    from mammozoo.evaluation.evaluate import EvaluationResult

#: What the table of subgroups shows; --json holds all scores.
_MAIN = ("auc", "sensitivity", "specificity", "accuracy")


def evaluate(
    model: str = typer.Argument(..., help="A run or model folder, or a zoo name."),
    dataset: str = typer.Option(None, help="Data set, such as busi; without one, a run's own test images."),
    root: Path = typer.Option(None, help="Folder (or CSV file) that holds the data."),
    threshold: str = typer.Option(None, help="One of the model's thresholds, such as youden or sensitivity:0.9."),
    aggregate: str = typer.Option(None, help="mean, max or noisy-or: one opinion for each patient or lesion."),
    by: str = typer.Option("patient", help="What --aggregate makes one of: patient or lesion."),
    subgroup: str = typer.Option(None, metavar="COLUMN", help="Scores for each value of a column, such as device."),
    csv: Path = typer.Option(None, help="Also write every prediction to this CSV file."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Score a model on a data set, with intervals; says so when the model has seen the images."""
    from mammozoo.errors import UsageError
    from mammozoo.evaluation import evaluate as assessment
    from mammozoo.evaluation import levels, scores, subgroups
    from mammozoo.training.run_directory import write_table
    from mammozoo.zoo.registry import find_model

    if aggregate is not None and aggregate not in levels.HOW:
        raise UsageError(f"--aggregate is {', '.join(levels.HOW)}, not '{aggregate}'.")
    if by not in ("patient", "lesion"):
        raise UsageError(f"--by is patient or lesion, not '{by}'.")
    if dataset is None and root is not None:
        raise UsageError("--root belongs to --dataset. Without both, a run is scored on its own test images.")
    if aggregate and subgroup:
        raise UsageError("--subgroup goes with single images; leave --aggregate out.")
    folder = find_model(model)
    shown = progress()
    try:
        if dataset is None:
            result = assessment.own_predictions(folder, threshold)
        else:
            result = assessment.evaluate(folder, dataset, root, threshold=threshold, device=device, progress=shown)
    finally:
        shown.stop()
    outcome = result.predictions.outcome
    parts = subgroups.by_subgroup(outcome, result.predictions.units(subgroup)) if subgroup else []
    if aggregate:
        outcome = levels.aggregate(outcome, result.predictions.units(by), result.predictions.cuts, aggregate)
    content = {
        "model": result.config.name,
        "dataset": result.dataset,
        "n": len(outcome),
        "split": "test" if dataset is None else "all",
        "level": by if aggregate else "image",
        "aggregate": aggregate,
        "threshold": _threshold(result),
        "temperature": result.config.temperature,
        "stamps": list(result.stamps),
        "scores": scores.as_json(scores.score_all(outcome)),
        "subgroups": [
            {"value": p.value, "n": p.n, "groups": p.groups, "scores": p.scores and scores.as_json(p.scores)}
            for p in parts
        ],
    }
    if csv is not None:
        write_table(csv, result.predictions.rows())
    if as_json:
        print_json(content)
    else:
        _show(content, subgroup, subgroups.FEWEST)


def _threshold(result: EvaluationResult) -> dict[str, Any] | None:
    """Which threshold decided, from where, and its value; of several folds the lowest and the highest."""
    if not result.threshold:
        return None
    cuts = result.predictions.cuts
    return {
        "name": result.threshold,
        "chosen_on": result.config.thresholds[result.threshold].chosen_on,
        "lowest": float(cuts.min()),
        "highest": float(cuts.max()),
    }


def _show(content: dict[str, Any], column: str | None, fewest: int) -> None:
    for stamp in content["stamps"]:
        note(f"! {stamp}")
    print_scores(content["scores"])
    if content["subgroups"]:
        rows = []
        for part in content["subgroups"]:
            cells = [_cell(part["scores"], name) for name in _MAIN]
            rows.append((part["value"], part["n"], part["groups"], *cells))
        print_table(f"by {column}", [column or "", "n", "groups", *_MAIN], rows)
        note(f"Parts of fewer than {fewest} independent groups show no scores.")
    if content["aggregate"]:
        note(f"One opinion for each {content['level']}: {content['aggregate']} of its images' probabilities.")
    if (used := content["threshold"]) is not None:
        value = f"{used['lowest']:.3f}"
        if used["highest"] > used["lowest"]:
            value += f" to {used['highest']:.3f} in the folds"
        note(f"Threshold: {used['name']} ({value}), chosen on {used['chosen_on']}, for single images.")
    if content["temperature"] != 1:
        note(f"Probabilities are calibrated: temperature {content['temperature']:.2f}, fitted on validation.")


def _cell(scores: dict[str, Any] | None, name: str) -> str:
    if scores is None:
        return "too few"
    score = scores.get(name)
    if score is None or score["value"] is None:
        return "–"
    return (
        f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})"
        if score["low"] is not None
        else f"{score['value']:.3f}"
    )
