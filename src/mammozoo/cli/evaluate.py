"""`mammozoo evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from mammozoo import api
from mammozoo.cli.options import (
    Columns,
    Csv,
    Device,
    Json,
    Member,
    Negative,
    Positive,
    Roots,
    Truth,
    Tta,
    Where,
    read_roots,
)
from mammozoo.cli.output import figure, note, note_stamps, print_json, print_scores, print_table, progress, say
from mammozoo.cli.which import Data, FirstModelOrTable, Model, model_and_data, one_data_set
from mammozoo.errors import UsageError
from mammozoo.files import refuse_to_replace, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mammozoo.evaluation.intervals import Kind
    from mammozoo.evaluation.result import EvaluationScores

EXAMPLES = """
mammozoo evaluate runs/first
mammozoo evaluate runs/first ~/elsewhere
mammozoo evaluate busi-resnet9 --dataset busi --root ~/BUSI
mammozoo evaluate runs/first --dataset csv --root clinic.csv --aggregate max --by patient
mammozoo evaluate theirs.csv --truth truth.xlsx --subgroup device,birads --where "marks=no"
"""
#: What the table of subgroups shows; --json holds all scores.
_MAIN = ("auc", "sensitivity", "specificity", "accuracy")


def evaluate(
    first: FirstModelOrTable = None,
    data: Data = None,
    model: Model = None,
    dataset: str | None = typer.Option(None, help="Same as DATA; without it, the run's own test images."),
    root: Roots = None,
    classes: str = typer.Option(
        None, metavar="CLASS=LABEL+…", help="Labels of the data set for each class; by default matched by name."
    ),
    member: Member = None,
    threshold: str = typer.Option(None, help="One of the model's thresholds, such as youden or sensitivity:0.9."),
    aggregate: str = typer.Option(
        None, help="mean, max or noisy-or: score one probability for each patient, breast or lesion."
    ),
    by: str = typer.Option("patient", help="Unit for --aggregate: patient, breast or lesion."),
    subgroup: list[str] = typer.Option(
        None,
        metavar="COLUMNS",
        help="Scores for each value of a column, or of several columns: device,birads; repeatable.",
    ),
    unseen: bool = typer.Option(
        False, "--unseen", help="Leave out images used in training, and images related to them."
    ),
    tta: Tta = None,
    truth: Truth = None,
    columns: Columns = None,
    positive: Positive = None,
    negative: Negative = None,
    where: Where = None,
    interval: str = typer.Option("bca", help="bca, or percentile, which most studies report."),
    prevalence: float = typer.Option(None, help="Also PPV and NPV at this prevalence, such as 0.006."),
    csv: Csv = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score a model on a data set, with intervals. Reports images used in its training or model selection."""
    from mammozoo.data.joined import places
    from mammozoo.data.layouts import located
    from mammozoo.evaluation.prediction_table import is_table

    if not (first or model or dataset):
        raise UsageError("Which model, and which data? The order is [MODEL] [DATA]; see -h.")
    chosen, rest = model_and_data(first, [data] if data else (), model, other=is_table)
    dataset, roots = one_data_set(rest, dataset), read_roots(root)
    if dataset is not None:
        dataset, roots = located(dataset, roots)
    if csv is not None:
        table = Path(chosen) if Path(chosen).is_file() else None
        refuse_to_replace(csv, "scored images", [*places(roots), truth, table], option="--csv")
    kind = cast("Kind", interval)  # which the api checks
    with progress() as shown:
        result = api.evaluate(
            chosen,
            dataset,
            roots,
            classes=classes,
            member=member,
            threshold=threshold,
            aggregate=aggregate,
            by=by,
            subgroup=subgroup or (),
            unseen=unseen,
            tta=tta,
            truth=truth,
            columns=columns or (),
            positive=positive,
            negative=negative,
            where=where,
            interval=kind,
            prevalence=prevalence,
            device=device,
            progress=shown,
        )
    content = _content(result, "test" if dataset is None else "all", by, aggregate, kind)
    if csv is not None:
        write_table(csv, result.evaluation.predictions.rows())
    if as_json:
        print_json(content)
    else:
        _show(content)


def _content(result: EvaluationScores, split: str, by: str, aggregate: str | None, interval: Kind) -> dict[str, Any]:
    """The result as JSON holds it."""
    from mammozoo.evaluation.intervals import LEVEL, draws_of
    from mammozoo.evaluation.scores import as_json

    evaluation, units, threshold = result.evaluation, result.units, None
    own = bool(units and not units.remark)
    config, table = evaluation.config, evaluation.table
    if name := evaluation.threshold:
        cuts = (units or evaluation).predictions.cuts  # of several folds each has its own
        threshold = {
            "name": name,
            "chosen_on": config.thresholds[name].chosen_on
            if config
            else "nothing"
            if name == "half"
            else "data elsewhere",
            "level": by if own else "image",
            **_span(cuts.tolist()),
        }
    scored = (units or evaluation).predictions
    return {
        "model": config.name if config else str(table and table.path),
        "sha256": evaluation.sha256,
        "dataset": evaluation.dataset,
        "n": result.n,
        "absent": evaluation.absent,
        "left_out": dict(evaluation.left_out),
        "seen": evaluation.seen,
        "split": split,
        "level": by if aggregate else "image",
        "aggregate": aggregate,
        "threshold": threshold,
        "temperature": _span(evaluation.temperatures) if evaluation.temperatures else None,
        "unit_temperature": _span(units.temperatures) if units and units.temperatures else None,
        "remark": (units and units.remark) or None,
        "stamps": list(result.stamps),
        "table": table and {"taken": dict(table.taken)},
        "notes": [*((table.said, *table.notes) if table else ()), *evaluation.notes],
        "classes": list(scored.outcome.classes),
        "intervals": {
            "kind": interval,
            "level": LEVEL,
            "draws": draws_of(interval, len(scored)),
            "groups": len({*scored.outcome.groups.tolist()}),
        },
        "scores": as_json(result.scores),
        "study": result.study,
        "use": result.use,
        "subgroups": [
            dataclasses.asdict(p) | {"classes": list(p.classes), "scores": p.scores and as_json(p.scores)}
            for p in result.subgroups
        ],
    }


def _show(content: dict[str, Any]) -> None:
    note_stamps(content["stamps"])
    for text in content["notes"]:
        note(text)
    print_scores(content["scores"])
    _show_study(content["study"])
    _show_use(content["use"])
    if content["subgroups"]:
        _show_parts(content["subgroups"], content["classes"])
    if content["aggregate"]:
        note(f"One probability for each {content['level']}: {content['aggregate']} over its images.")
    if content["remark"]:
        note(content["remark"])
    if (used := content["threshold"]) is not None:
        of = "single images" if used["level"] == "image" else f"{used['level']}s"
        note(f"Threshold: {used['name']} ({_range(used, 3)}), chosen on {used['chosen_on']}, for {of}.")
    if (used := content["temperature"]) not in (None, _span([1.0])):
        note(f"Probabilities are calibrated: temperature {_range(used, 2)}, fitted on validation.")
    if (used := content["unit_temperature"]) is not None:
        note(
            f"Probabilities of {content['level']}s are calibrated too: temperature {_range(used, 2)}, fitted on validation."
        )


def _show_study(study: dict[str, Any]) -> None:
    """Risk and coverage as a table, confident mistakes and missed positives as lines."""
    columns = ["coverage", "accuracy", "sensitivity", "specificity", "missed", "positives_abstained"]
    if "risk_coverage" in study:
        rows = [
            (
                f"≥ {row['confidence']:g}",
                *(figure(v) if isinstance(v := row[name], float | None) else v for name in columns),
            )
            for row in study["risk_coverage"]["at"]
        ]
        print_table("risk and coverage", ["confidence", *(name.replace("_", " ") for name in columns)], rows)
        each = (f"{row['mistakes']} at {row['confidence']:g}" for row in study["confident_mistakes"])
        say(f"Confident mistakes: {', '.join(each)}.")
    if missed := study.get("missed"):
        where = f"in {missed['patients']} {missed['unit']}"
        text = f"Missed ({' or '.join(study['positive'])}): {missed['n']} of {missed['of']}, {where}"
        if missed["n"]:
            text += (
                f"; {missed['of_worst']} ({missed['share_of_worst']:.0%}) in the {len(missed['worst'])} with the most"
            )
            text += "; decided as " + ", ".join(f"{name} ({many})" for name, many in missed["as"].items())
        say(f"{text}.")


def _show_use(use: dict[str, Any]) -> None:
    """Calibration line, conformal sets and predictive values, a line each."""
    if line := use.get("calibration"):
        slope, intercept, large = (
            _with_interval(line[name] or {"value": None}) for name in ("slope", "intercept", "in_the_large")
        )
        say(f"Calibration slope {slope}, intercept {intercept}; in the large {large} (ideal: 1, 0, 0).")
    for one in use.get("conformal", ()):
        coverage = _with_interval(one["coverage"])
        say(
            f"Conformal sets of {one['level']:.0%} from validation hold the truth for {coverage} of the images "
            f"({one['coverage_of_groups']:.1%} of a group on average); {one['single']:.0%} name one class."
        )
    if at := use.get("at_prevalence"):
        ppv, npv = (_with_interval(at[name]) for name in ("ppv", "npv"))
        say(
            f"At a prevalence of {at['prevalence']:g}: PPV {ppv}, NPV {npv}, if sensitivity and specificity hold there."
        )


def _with_interval(score: dict[str, Any]) -> str:
    return figure(score["value"], score.get("low"), score.get("high"))


def _show_parts(parts: Sequence[dict[str, Any]], classes: Sequence[str]) -> None:
    """One table of all parts, and which of them lack classes."""
    from mammozoo.evaluation.subgroups import FEWEST

    rows = []
    for part in parts:
        scores = [part["scores"] and part["scores"].get(name, {"value": None}) for name in _MAIN]
        cells = [figure(s["value"], s.get("low"), s.get("high")) if s else "too few" for s in scores]
        rows.append((part["column"], part["value"], part["n"], part["groups"], *cells))
    columns = list(dict.fromkeys(row[0] for row in rows))
    heads = ["by", "part"] if len(columns) > 1 else columns
    shown = rows if len(columns) > 1 else [row[1:] for row in rows]
    print_table(f"by {' and '.join(columns)}", [*heads, "n", "groups", *_MAIN], shown)
    note(f"Subgroups with fewer than {FEWEST} independent groups have no scores.")
    for part in parts:
        if part["absent"]:
            counts = ", ".join(f"{name} of {count}" for name, count in part["absent"].items())
            among = f"Its scores are among {', '.join(part['classes'])}"
            note(
                f"{part['column']} {part['value']}: {among}; the most probable of all is {counts} of {part['n']} images."
            )


def _span(values: Sequence[float]) -> dict[str, float]:
    return {"lowest": min(values), "highest": max(values)}


def _range(of: dict[str, Any], digits: int) -> str:
    """The value, or the lowest and highest of the folds."""
    low, high = (f"{of[key]:.{digits}f}" for key in ("lowest", "highest"))
    return low if low == high else f"{low} to {high} in the folds"
