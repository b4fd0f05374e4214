"""`report.html`: a run on one page that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from mammozoo.config.sections import Root
from mammozoo.data.joined import places
from mammozoo.errors import UsageError
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome, confusion_matrix
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import OVERFITTING, Score
from mammozoo.evaluation.selective import curve, study
from mammozoo.evaluation.use import calibration_line
from mammozoo.files import refuse_to_replace, sha256, write_text
from mammozoo.models.config import INTENDED_USE
from mammozoo.progress import Progress
from mammozoo.report import claim, plots
from mammozoo.report.content import read, settings
from mammozoo.report.mistakes import show
from mammozoo.report.separation import counts, separation
from mammozoo.report.verdict import verdict
from mammozoo.zoo.registry import answering_weights

HEADLINES = ("auc", "sensitivity", "specificity", "balanced-accuracy", "accuracy")


def write_report(
    run_folder: Path,
    *,
    root: Root | None = None,
    heatmaps: bool = True,
    format: Literal["html", "md"] = "html",
    out: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the report of a complete run and return its path: `out`, or `report.html` (`report.md`) in the run's folder.

    Args:
        root: where the data is now, if not where the recipe says; pictures of the worst mistakes are read from it.
        heatmaps: False leaves pictures and heatmaps out.
        format: `md` for a supplement in Markdown: scores, split, settings and checklist, without pictures.

    Raises:
        NotFoundError: there is no complete run.
        IncompatibleError: its files are damaged or of another version.
        ConflictError: another file than a report is there.
        AccessError, FailedError: the report cannot be written.
        UsageError: no such format.
    """
    if format not in ("html", "md"):
        raise UsageError(f"--format is html or md, not '{format}'.")
    path = out or run_folder / f"report.{format}"
    path = path / f"report.{format}" if path.is_dir() else path
    content = read(run_folder)
    own = "report" if format == "html" else "supplement"
    refuse_to_replace(path, own, places(root or content.recipe.root) if out else [])
    gallery = show(content, root, heatmaps and format == "html", progress or Progress())
    separated = separation(content)
    weights = content.run.path / "model.safetensors"
    items = claim.checklist(content, separated, gallery)
    drawn = figures(content.test, content.recipe.seed)
    if trained := [model for model in content.models if model.history]:
        drawn["training"] = plots.history_plot(trained, content.recipe.monitor)
    page = claim.environment(html=format == "html").get_template(f"report.{format}.j2")
    text = page.render(
        content=content,
        facts=content.facts,
        config=content.config,
        intended_use=INTENDED_USE,
        stamps=list(dict.fromkeys([*content.facts.get("stamps", []), *content.config.stamps])),
        verdict=verdict(content, separated.leaky),
        headlines=[(name, content.scores[name]) for name in HEADLINES if name in content.scores][:4],
        summaries=summaries(content.scores, content.metrics),
        figures=drawn,
        confusion=confusion(content.outcome),
        study=study(content.test),
        calibration=calibration_line(content.outcome),
        folds=content.folds,
        account=content.account,
        models=content.models,
        outer=[fold for fold in content.folds if fold.name not in {model.name for model in content.models}],
        spread=spread(content.scores),
        separation=separated,
        counts=counts(content),
        gallery=gallery,
        settings=settings(content.run.path / "recipe.yaml"),
        intact=sha256(weights) == content.facts.get("model", {}).get("sha256"),
        together=sha256(answering_weights(content.run.path)) if content.facts.get("ensemble") else "",
        items=items,
        filled=claim.count(items),
        claim=claim,
        seen=len(content.config.training.seen),
    )
    return write_text(path, text)


def spread(scores: Mapping[str, Score]) -> list[str]:
    """Which fields of several folds or repeats some scores have."""
    return [key for key in ("pooled", "sd") if any(getattr(score, key) is not None for score in scores.values())]


def figures(test: Predictions, seed: int = 0) -> dict[str, Any]:
    """Name → drawing; None of those that predictions have no numbers for."""
    drawn: dict[str, Any] = dict.fromkeys(("reliability", "risk", "roc", "precision_recall", "training"))
    if test.decided_only:
        return drawn
    drawn |= {"reliability": plots.reliability_plot(test.outcome), "risk": plots.risk_plot(curve(test.outcome))}
    if views := plots.views(test.outcome):
        drawn["roc"] = plots.roc_plot(views, seed)
        drawn["precision_recall"] = plots.precision_recall_plot(views, seed)
    return drawn


def confusion(outcome: Outcome) -> list[tuple[str, list[tuple[int, float]], int]]:
    """(label, [(count, share of the label's images)] by decision, the label's images) of every class."""
    rows = zip(outcome.classes, confusion_matrix(outcome).tolist(), strict=True)
    return [(name, [(count, count / max(1, sum(row))) for count in row], sum(row)) for name, row in rows]


def summaries(scores: Iterable[str], metrics: Mapping[str, Metric]) -> dict[str, str]:
    """Score → what its metric is, empty if the metric is not installed here."""
    known = {name: metric.summary for name, metric in metrics.items()} | OVERFITTING
    found = {}
    for score in scores:
        name, _, label = score.partition("[")
        rest = f"; {label.removesuffix(']')} against the rest" if label else ""
        found[score] = known[name] + rest if name in known else ""
    return found
