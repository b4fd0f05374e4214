"""`report.html`: a run on one page that needs no network, no script and no other file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from mammozoo.evaluation.scores import OVERFITTING
from mammozoo.files import refuse_to_replace, sha256, write_text
from mammozoo.models.config import INTENDED_USE
from mammozoo.models.weights import read_shapes
from mammozoo.progress import Progress
from mammozoo.report import claim, plots
from mammozoo.report.content import Content, read, settings
from mammozoo.report.mistakes import show
from mammozoo.report.separation import counts, separation

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
        ConflictError: another file than a report is there.
        AccessError, FailedError: the report cannot be written.
    """
    path = out or run_folder / "report.html"
    path = path / "report.html" if path.is_dir() else path
    content = read(run_folder)
    refuse_to_replace(path, "report", [root or content.recipe.root] if out else [])
    gallery, separated = show(content, root, heatmaps, progress or Progress()), separation(content)
    weights = content.run.path / "model.safetensors"
    parameters = sum(map(math.prod, read_shapes(weights).values()))
    items = claim.checklist(content, separated, gallery, parameters)
    page = claim.environment(html=True).get_template("report.html.j2")
    text = page.render(
        content=content,
        facts=content.facts,
        config=content.config,
        intended_use=INTENDED_USE,
        stamps=list(dict.fromkeys([*content.facts.get("stamps", []), *content.config.stamps])),
        headlines=[(name, content.scores[name]) for name in _HEADLINES if name in content.scores][:3],
        summaries=_summaries(content),
        figures=_figures(content),
        confusion=_confusion(content),
        folds=content.folds,
        account=content.account,
        models=content.models,
        outer=[fold for fold in content.folds if fold.name not in {model.name for model in content.models}],
        spread=[key for key in ("pooled", "sd") if any(getattr(s, key) is not None for s in content.scores.values())],
        separation=separated,
        counts=counts(content),
        gallery=gallery,
        settings=settings(content.run.path / "recipe.yaml"),
        intact=sha256(weights) == content.facts.get("model", {}).get("sha256"),
        items=items,
        filled=claim.count(items),
        claim=claim,
        seen=len(content.config.training.seen),
    )
    return write_text(path, text)


def _figures(content: Content) -> dict[str, Any]:
    """Name → SVG of those figures that the run has numbers for."""
    views = plots.views(content.outcome)
    figures = {"reliability": plots.reliability_plot(content.outcome)}
    if views:
        figures["roc"] = plots.roc_plot(views, content.recipe.seed)
        figures["precision_recall"] = plots.precision_recall_plot(views)
    if trained := [model for model in content.models if model.history]:
        figures["training"] = plots.history_plot(trained, content.recipe.monitor)
    return figures


def _confusion(content: Content) -> list[tuple[str, list[tuple[int, float]], int]]:
    """(label, [(count, share of the label's images)] by decision, the label's images) of every class."""
    outcome = content.outcome
    matrix = confusion_matrix(outcome.labels, outcome.decisions, labels=np.arange(len(outcome.classes)))
    return [
        (name, [(int(count), int(count) / max(1, int(row.sum()))) for count in row], int(row.sum()))
        for name, row in zip(outcome.classes, matrix, strict=True)
    ]


def _summaries(content: Content) -> dict[str, str]:
    """Score → what its metric is, empty if the metric is not installed here."""
    known = {name: metric.summary for name, metric in content.metrics.items()} | OVERFITTING
    summaries = {}
    for score in content.scores:
        name, _, label = score.partition("[")
        rest = f"; {label.removesuffix(']')} against the rest" if label else ""
        summaries[score] = known[name] + rest if name in known else ""
    return summaries
