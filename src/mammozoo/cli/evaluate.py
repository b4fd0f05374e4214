"""`mammozoo evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mammozoo import api
from mammozoo.cli.options import Csv, Device, Json, ModelName, Root
from mammozoo.cli.output import figure, note, note_stamps, print_json, print_scores, print_table, progress
from mammozoo.files import refuse_to_replace, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mammozoo.evaluation.evaluate import EvaluationScores

EXAMPLES = """
mammozoo evaluate runs/first
mammozoo evaluate busi-resnet9 --dataset busi --root ~/BUSI
mammozoo evaluate runs/first --dataset csv --root clinic.csv --aggregate max --by patient
"""
#: What the table of subgroups shows; --json holds all scores.
_MAIN = ("auc", "sensitivity", "specificity", "accuracy")


def evaluate(
    model: ModelName,
    dataset: str = typer.Option(None, help="Data set, such as busi; without one, a run's own test images."),
    root: Root = None,
    threshold: str = typer.Option(None, help="One of the model's thresholds, such as youden or sensitivity:0.9."),
    aggregate: str = typer.Option(
        None, help="mean, max or noisy-or: one probability for each patient, breast or lesion."
    ),
    by: str = typer.Option("patient", help="What --aggregate makes one of: patient, breast or lesion."),
    subgroup: str = typer.Option(None, metavar="COLUMN", help="Scores for each value of a column, such as device."),
    unseen: bool = typer.Option(
        False, "--unseen", help="Leave out images used in training, and those related to them."
    ),
    csv: Csv = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score a model on a data set, with intervals. Images used in its training or model selection are reported."""
    if csv is not None:
        refuse_to_replace(csv, "scored images", [root], option="--csv")
    with progress() as shown:
        result = api.evaluate(
            model,
            dataset,
            root,
            threshold=threshold,
            aggregate=aggregate,
            by=by,
            subgroup=subgroup,
            unseen=unseen,
            device=device,
            progress=shown,
        )
    content = _content(result, "test" if dataset is None else "all", by, aggregate)
    if csv is not None:
        write_table(csv, result.evaluation.predictions.rows())
    if as_json:
        print_json(content)
    else:
        _show(content, subgroup)


def _content(result: EvaluationScores, split: str, by: str, aggregate: str | None) -> dict[str, Any]:
    """The result as JSON holds it."""
    from mammozoo.evaluation.scores import as_json

    evaluation, units, threshold = result.evaluation, result.units, None
    own = bool(units and not units.remark)
    if name := evaluation.threshold:
        cuts = (units or evaluation).predictions.cuts  # of several folds each has its own
        threshold = {
            "name": name,
            "chosen_on": evaluation.config.thresholds[name].chosen_on,
            "level": by if own else "image",
            **_span(cuts.tolist()),
        }
    return {
        "model": evaluation.config.name,
        "dataset": evaluation.dataset,
        "n": result.n,
        "seen": evaluation.seen,
        "split": split,
        "level": by if aggregate else "image",
        "aggregate": aggregate,
        "threshold": threshold,
        "temperature": _span(evaluation.temperatures),
        "unit_temperature": _span(units.temperatures) if units and units.temperatures else None,
        "remark": (units and units.remark) or None,
        "stamps": list(result.stamps),
        "scores": as_json(result.scores),
        "subgroups": [
            {"value": p.value, "n": p.n, "groups": p.groups, "scores": p.scores and as_json(p.scores)}
            for p in result.subgroups
        ],
    }


def _show(content: dict[str, Any], column: str | None) -> None:
    from mammozoo.evaluation.evaluate import FEWEST

    note_stamps(content["stamps"])
    print_scores(content["scores"])
    if content["subgroups"]:
        rows = []
        for part in content["subgroups"]:
            scores = [part["scores"] and part["scores"].get(name, {"value": None}) for name in _MAIN]
            cells = [figure(s["value"], s.get("low"), s.get("high")) if s else "too few" for s in scores]
            rows.append((part["value"], part["n"], part["groups"], *cells))
        print_table(f"by {column}", [column or "", "n", "groups", *_MAIN], rows)
        note(f"Parts of fewer than {FEWEST} independent groups show no scores.")
    if content["aggregate"]:
        note(f"One probability for each {content['level']}: {content['aggregate']} of those of its images.")
    if content["remark"]:
        note(content["remark"])
    if (used := content["threshold"]) is not None:
        of = "single images" if used["level"] == "image" else f"{used['level']}s"
        note(f"Threshold: {used['name']} ({_range(used, 3)}), chosen on {used['chosen_on']}, for {of}.")
    if (used := content["temperature"]) != _span([1.0]):
        note(f"Probabilities are calibrated: temperature {_range(used, 2)}, fitted on validation.")
    if (used := content["unit_temperature"]) is not None:
        note(f"So are those of {content['level']}s: temperature {_range(used, 2)}, fitted on validation.")


def _span(values: Sequence[float]) -> dict[str, float]:
    return {"lowest": min(values), "highest": max(values)}


def _range(of: dict[str, Any], digits: int) -> str:
    """The value, or the lowest and highest of the folds."""
    low, high = (f"{of[key]:.{digits}f}" for key in ("lowest", "highest"))
    return low if low == high else f"{low} to {high} in the folds"
