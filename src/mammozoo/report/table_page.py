"""The report of predictions in a table: the page of a run without what only a run has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mammozoo import __version__
from mammozoo.errors import NotFoundError
from mammozoo.evaluation.evaluate import score_model
from mammozoo.evaluation.intervals import Kind
from mammozoo.evaluation.selection import ALL, Selection
from mammozoo.evaluation.selective import MORE
from mammozoo.files import refuse_to_replace, sha256, write_text
from mammozoo.models.config import INTENDED_USE
from mammozoo.plugins import registry
from mammozoo.report import claim
from mammozoo.report.mistakes import show_files
from mammozoo.report.page import HEADLINES, confusion, figures, spread, summaries


def write_table_report(
    table: Path,
    selection: Selection = ALL,
    *,
    root: Path | None = None,
    subgroup: str | None = None,
    threshold: str | None = None,
    interval: Kind = "bca",
    out: Path | None = None,
) -> Path:
    """Write the report of predictions in a table and return its path: `out`, or `NAME.report.html` beside the table.

    Args:
        root: a folder that holds the images under their ids; the worst mistakes are shown from it.
        subgroup, threshold, interval: as for `mammozoo.evaluate`.

    Raises:
        UsageError: the table cannot be scored.
        NotFoundError: there is no such table or folder.
        ConflictError: another file than a report is there.
        AccessError, FailedError: the report cannot be written.
    """
    path = out or table.with_suffix(".report.html")
    path = path / "report.html" if path.is_dir() else path
    if root is not None and not root.is_dir():
        raise NotFoundError(f"There is no folder '{root}'.")
    refuse_to_replace(path, "report", [table, selection.truth, root if out else None])
    columns = [subgroup] if subgroup else []
    result = score_model(table, threshold=threshold, subgroup=columns, selection=selection, interval=interval)
    evaluation = result.evaluation
    assert evaluation.table is not None
    test = evaluation.predictions.by_repeat()[0]
    metrics = {name: item.value for name, item in registry().items("metrics").items()}
    cuts = np.unique(test.cuts)
    at = f"Threshold: {evaluation.threshold}, {cuts[0]:.3f}." if evaluation.threshold and len(cuts) == 1 else ""
    text = claim.environment(html=True).get_template("table.html.j2").render(
        name=table.name,
        outcome=test.outcome,
        groups=len(np.unique(test.outcome.groups)),
        intended_use=INTENDED_USE,
        scores=result.scores,
        headlines=[(name, result.scores[name]) for name in HEADLINES if name in result.scores][:3],
        summaries=summaries(result.scores, metrics | {metric.name: metric for metric in MORE}),
        spread=spread(result.scores),
        interval={"bca": "BCa", "percentile": "percentile"}[interval],
        threshold=at,
        figures=figures(test),
        confusion=confusion(test.outcome),
        study=result.study,
        subgroups=result.subgroups,
        shown=[name for name in HEADLINES if name in result.scores and name != "balanced-accuracy"],
        gallery=show_files(test, root),
        taken=evaluation.table.taken,
        notes=evaluation.table.notes,
        sha256=sha256(table),
        version=__version__,
    )  # fmt: skip
    return write_text(path, text)
