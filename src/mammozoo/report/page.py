"""`report.html`: a run on one page that needs no network, no script and no other file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from sklearn.metrics import confusion_matrix

from mammozoo.files import sha256, write_text
from mammozoo.models.config import INTENDED_USE
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.report import claim, curves, plots
from mammozoo.report.answers import answers, listed
from mammozoo.report.content import Content, Fold, auc_of, read
from mammozoo.report.mistakes import Gallery, show
from mammozoo.report.separation import counts, separation
from mammozoo.report.settings import settings

_HEADLINES = ("auc", "sensitivity", "specificity", "balanced-accuracy", "accuracy")


def write_report(
    run_folder: Path,
    *,
    root: Path | None = None,
    heatmaps: bool = True,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the report of a complete run and return its path: `out`, or `report.html` in the run's folder.

    Args:
        root: where the data is now, if not where the recipe says; pictures of the worst mistakes are read from it.
        heatmaps: False leaves pictures and heatmaps out.

    Raises:
        NotFoundError: there is no complete run.
        IncompatibleError: its files are damaged or of another version.
        AccessError, FailedError: the report cannot be written.
    """
    content = read(run_folder)
    gallery = show(content, root, heatmaps, progress or Progress())
    path = out or run_folder / "report.html"
    return write_text(path / "report.html" if path.is_dir() else path, _render(content, gallery))


def _render(content: Content, gallery: Gallery) -> str:
    environment = Environment(
        loader=PackageLoader("mammozoo.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["listed"] = listed
    separated = separation(content)
    weights = content.run.path / "model.safetensors"
    items = claim.checklist(answers(content, separated, gallery, _parameters(weights)))
    return environment.get_template("report.html.j2").render(
        content=content,
        facts=content.facts,
        config=content.config,
        intended_use=INTENDED_USE,
        stamps=list(dict.fromkeys([*content.facts.get("stamps", []), *content.config.stamps])),
        headlines=[(name, content.scores[name]) for name in _HEADLINES if name in content.scores][:3],
        summaries=_summaries(content),
        figures=_figures(content),
        confusion=_confusion(content),
        folds=[_fold_row(content, fold) for fold in content.folds],
        separation=separated,
        counts=counts(content),
        gallery=gallery,
        settings=settings(content.run.path / "recipe.yaml"),
        intact=weights.is_file() and sha256(weights) == content.facts.get("model", {}).get("sha256"),
        items=items,
        filled=claim.count(items),
        claim=claim,
        seen=len(content.config.training.seen),
    )


def _figures(content: Content) -> dict[str, Any]:
    """Name → SVG, for those figures that the run has numbers for."""
    views, seed = curves.views(content.outcome), content.recipe.seed
    found: dict[str, Any] = {}
    if views:
        found["roc"] = plots.roc_plot([curves.roc(view, seed) for view in views], "decisions")
        found["precision_recall"] = plots.precision_recall_plot([curves.precision_recall(view) for view in views])
    found["reliability"] = plots.reliability_plot(curves.reliability(content.outcome))
    histories = {fold.name: fold.history for fold in content.folds if fold.history}
    if histories:
        found["training"] = plots.history_plot(histories, content.recipe.monitor)
    return found


def _confusion(content: Content) -> list[tuple[str, list[tuple[int, float]], int]]:
    """(label, [(count, share of the label's images)] by decision, the label's images) of every class."""
    outcome = content.outcome
    matrix = confusion_matrix(outcome.labels, outcome.decisions, labels=np.arange(len(outcome.classes)))
    return [
        (name, [(int(count), int(count) / max(1, int(row.sum()))) for count in row], int(row.sum()))
        for name, row in zip(outcome.classes, matrix, strict=True)
    ]


def _fold_row(content: Content, fold: Fold) -> dict[str, Any]:
    """What the table of trainings says of one fold."""
    best = [row for row in fold.history if row["best"] == "True"]
    outcome = content.of_fold(fold.name)
    cut = fold.config.thresholds.get(fold.config.threshold)
    return {
        "name": fold.name,
        "epochs": len(fold.history),
        "best": best[-1]["epoch"] if best else "",
        "val_loss": float(best[-1]["val_loss"]) if best else None,
        "monitor": float(best[-1]["monitor"]) if best else None,
        "seconds": sum(float(row.get("seconds") or 0) for row in fold.history),
        "tested": len(outcome),
        "auc": auc_of(outcome),
        "threshold": cut.value if cut else None,
        "chosen_on": cut.chosen_on if cut else "",
        "temperature": fold.config.calibration.temperature if fold.config.calibration else None,
        "digest": fold.config.training.split_sha256,
    }


def _summaries(content: Content) -> dict[str, str]:
    """Score → what its metric is, as far as it is installed here."""
    known = {name: item.value.summary for name, item in registry().items("metrics").items()}
    known["beta"] = "overfitting ratio: accuracy on the training part over accuracy on validation"
    known["accuracy-gap"] = (
        "accuracy on the training part minus that on the test part; above 0.10 Falconí 2020 rejects a model"
    )
    found = {}
    for score in content.scores:
        name, _, label = score.partition("[")
        against = f"; {label.removesuffix(']')} against the rest" if label else ""
        found[score] = known[name] + against if name in known else ""
    return found


def _parameters(weights: Path) -> int:
    """How many numbers a weights file holds, from its header."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as tensors:
        return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118 - no mapping


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
