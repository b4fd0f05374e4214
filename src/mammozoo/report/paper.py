"""Tables, figures and paragraphs for a paper, from what was carried out.

FOLDER/
├── text.md           Methods and Results, and which items of CLAIM 2024 and TRIPOD+AI are answered where
├── tables/           each as CSV, Markdown and LaTeX
└── figures/          each as PDF and PNG of 300 dpi; captions.md
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mammozoo import __version__
from mammozoo.errors import ConflictError
from mammozoo.evaluation.evaluate import score_model
from mammozoo.evaluation.intervals import LEVEL, Kind, draws_of
from mammozoo.evaluation.prediction_table import is_table
from mammozoo.evaluation.predictions import Predictions, read_predictions
from mammozoo.evaluation.result import EvaluationScores
from mammozoo.evaluation.scores import score_all
from mammozoo.evaluation.selection import ALL, Selection
from mammozoo.files import disk_error, sha256, write_bytes, write_text
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.report import claim
from mammozoo.report.claim import Item, listed
from mammozoo.report.content import read
from mammozoo.report.mistakes import show
from mammozoo.report.page import HEADLINES, figures
from mammozoo.report.paper_plots import Flow, confusion_plot, decision_plot, flow_plot, forest_plot
from mammozoo.report.paper_tables import Table, figure, folds_pooled, tables
from mammozoo.report.plots import Drawing
from mammozoo.report.separation import separation
from mammozoo.tables import read_columns

#: (guideline, item, topic, the files that answer it).
_ITEMS = (
    ("CLAIM 2024", "28", "metrics", "text.md, tables/performance"),
    ("CLAIM 2024", "29", "uncertainty", "text.md"),
    ("CLAIM 2024", "30", "robustness", "tables/subgroups, figures/forest"),
    ("CLAIM 2024", "35", "numbers included and excluded", "figures/flow"),
    ("CLAIM 2024", "36", "characteristics by partition", "tables/characteristics"),
    ("CLAIM 2024", "37", "performance with its uncertainty", "tables/performance, figures/roc, figures/precision-recall"),
    ("CLAIM 2024", "38", "diagnostic performance", "tables/performance, tables/confusion, figures/confusion"),
    ("CLAIM 2024", "39", "failures", "text.md, tables/risk-coverage, figures/risk"),
    ("TRIPOD+AI", "12e", "measures and plots of performance", "text.md, figures/roc, figures/reliability, figures/decision-curve"),
    ("TRIPOD+AI", "14", "fairness", "tables/subgroups, figures/forest"),
    ("TRIPOD+AI", "15", "output and thresholds", "text.md"),
    ("TRIPOD+AI", "20a", "flow of participants", "figures/flow"),
    ("TRIPOD+AI", "20b", "characteristics", "tables/characteristics"),
    ("TRIPOD+AI", "21", "participants and events", "text.md, tables/characteristics"),
    ("TRIPOD+AI", "23a", "performance with intervals, also of subgroups", "tables/performance, tables/subgroups"),
    ("TRIPOD+AI", "23b", "heterogeneity", "tables/subgroups, figures/forest"),
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What a paper is written from; the sentences for Methods and Results are about what was done before the scoring."""

    result: EvaluationScores
    sets: Mapping[str, Predictions]
    flow: Flow
    interval: Kind = "bca"
    methods: Sequence[str] = ()
    results: Sequence[str] = ()
    items: Sequence[Item] = field(default=())


def write_paper(folder: Path, material: Material, *, replace: bool = False) -> Path:
    """Write all of it into `folder`, which is new or empty, and return it; with `replace` what was there goes.

    Raises:
        ConflictError: something is there.
        AccessError, FailedError: it cannot be written.
    """
    free_folder(folder, replace=replace)
    result, rows = material.result, _first(material.result)
    drawn = [flow_plot(material.flow), confusion_plot(rows.outcome)]
    drawn += [one for one in figures(rows).values() if one is not None]
    if rows.outcome.binary and not rows.decided_only:
        drawn.append(decision_plot(rows.outcome))
    main = next((name for name in ("auc", *HEADLINES) if name in result.scores), None)
    if result.subgroups and main:
        score = result.scores[main]
        if score.pooled is not None:  # parts are of all folds together, so the whole is, too
            score = score_all(rows.outcome, kind=material.interval)[main]
        drawn.append(forest_plot(score, result.subgroups, main, result.n))
    made = tables(result, material.sets)
    every: Sequence[tuple[str, Sequence[Drawing | Table]]] = (("figures", drawn), ("tables", made))
    for place, several in every:
        for name, content in (file for one in several for file in one.files().items()):
            write_bytes(folder / place / name, content)
    captions = [f"**Figure {number} ({one.name}).** {one.text}\n" for number, one in enumerate(drawn, 1)]
    write_text(folder / "figures" / "captions.md", "\n".join(captions))
    there = {f"figures/{one.name}" for one in drawn} | {f"tables/{one.name}" for one in made} | {"text.md"}
    write_text(folder / "text.md", _text(material, there))
    return folder


def free_folder(folder: Path, *, replace: bool = False) -> None:
    """Raise ConflictError unless `folder` is new or empty; with `replace` what is in it is deleted."""
    try:
        if replace and folder.is_dir():
            shutil.rmtree(folder)
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise ConflictError(
                f"'{folder}' is not empty, and what is there may have been edited. Choose another --paper."
            )
    except OSError as error:
        raise disk_error(error, folder) from error


def material_of(
    source: Path,
    selection: Selection = ALL,
    *,
    subgroup: str | None = None,
    threshold: str | None = None,
    interval: Kind = "bca",
) -> Material:
    """What a paper is written from, of a complete run or of a table; arguments and errors as those of `mammozoo.evaluate`."""
    columns = [subgroup] if subgroup else []
    result = score_model(source, threshold=threshold, subgroup=columns, selection=selection, interval=interval)
    rows = _first(result)
    if is_table(source):
        table = result.evaluation.table
        assert table is not None
        there = len(read_columns(source).lines)
        first = f"{there:,} rows of {source.name}"
        said = [
            note.partition("; --")[0].rstrip(".") + "."
            for note in table.notes
            if not note.startswith("Scores are means")
        ]
        methods = [
            f"Predictions were read from a table ({source.name}, SHA-256 {sha256(source)}); how the model was made is not known "
            "here.", *said,
        ]  # fmt: skip
        lost = there - len(result.evaluation.predictions)
        return Material(result, {"scored": rows}, _flow(first, lost, rows), interval, methods)
    content, everything = read(source), read_predictions(source)
    folds = len(content.folds)
    parts = {"training": "train", "validation": "val", "test": "test"}
    sets = (
        {"test, all folds": rows}
        if folds > 1
        else {name: everything.of(part).by_repeat()[0] for name, part in parts.items()}
    )
    there = int(content.facts.get("images", len(rows)))
    aside = "training and validation" if folds == 1 else "left out"
    items = claim.checklist(content, separation(content), show(content, None, False, Progress()))
    of = f"of {content.recipe.dataset}"
    flow = _flow(f"{there:,} images {of}", there - len(rows), rows, aside)
    if excluded := content.facts.get("excluded"):
        number = sum(excluded.values())
        why = "\n".join(f"{n:,} {reason}" for reason, n in excluded.items())
        before = (f"{there + number:,} images {of}", f"excluded: {number:,}\n{why}")
        flow = Flow([before, (f"{there:,} images", flow.steps[0][1]), *flow.steps[1:]], flow.ends)
    return Material(result, sets, flow, interval, items=items)


def _flow(first: str, lost: int, rows: Predictions, aside: str = "left out") -> Flow:
    o, ends = rows.outcome, []
    scored = f"scored: {_counted(rows)}{', in the first repeat' * bool(rows.repeats[0])}"
    for number, name in enumerate(o.classes):
        own = o.labels == number
        right = int((o.decisions[own] == number).sum())
        ends.append(f"{name}: {own.sum():,}\nclassified correctly: {right:,}\nwrongly: {own.sum() - right:,}")
    return Flow([(first, f"{aside}: {lost:,}" if lost > 0 else ""), (scored, "")], ends if len(ends) <= 4 else [])


def _counted(rows: Predictions) -> str:
    known = rows.patients[rows.patients != ""]
    nobody = len(rows) - len(known)
    what = (
        f"{len(np.unique(known)):,} patients" + f" ({nobody:,} images without one)" * bool(nobody)
        if len(known)
        else f"{len(np.unique(rows.outcome.groups)):,} independent groups"
    )
    return f"{len(rows):,} images, {what}"


def _first(result: EvaluationScores) -> Predictions:
    return result.evaluation.predictions.by_repeat()[0]


def _text(material: Material, there: set[str]) -> str:
    """`text.md`."""
    items = material.items
    methods = [item.known for item in items if item.section.startswith("Methods") and item.known]
    results = [item.known for item in items if item.section == "Results: data" and item.known]
    pointers = []
    for guideline, number, topic, files in _ITEMS:
        found = [name for name in files.split(", ") if name in there]
        pointers.append(
            f"| {guideline} | {number} | {topic} | {', '.join(found) or 'to be filled in by the authors'} |"
        )
    methods += [*material.methods, *_scoring(material)]
    results += [*material.results, *_results(material)]
    made = (
        "Made from what was carried out. Aims, ethics, how images were collected and who read them are for the authors."
    )
    head = "| guideline | item | topic | where |\n| --- | --- | --- | --- |"
    blocks = ["## Methods", " ".join(methods), "## Results", " ".join(results), "## Where the items are"]
    return "\n\n".join([made, *blocks, "\n".join([head, *pointers])]) + "\n"


def _scoring(material: Material) -> list[str]:
    """How the scores were made."""
    result, rows = material.result, _first(material.result)
    evaluation = result.evaluation
    groups = len(np.unique(rows.outcome.groups))
    known = {name: item.value.summary for name, item in registry().items("metrics").items()}
    defined = [f"{name} ({known[name]})" for name in HEADLINES if name in result.scores and name in known]
    said = [f"Performance was measured by {listed(defined)}." if defined else ""]
    kind = "bias-corrected and accelerated (BCa)" if material.interval == "bca" else "percentile"
    said.append(
        f"Intervals are {100 * LEVEL:g} % {kind} bootstrap intervals of {draws_of(material.interval, len(rows)):,} draws of the "
        f"{groups:,} independent groups ({'each image is one' if groups == len(rows) else 'drawn with all their images'})."
    )
    if (name := evaluation.threshold) == "the table's":
        said.append("Decisions are those of the table, or at its threshold.")
    elif name:
        cuts = np.unique(rows.cuts[np.isfinite(rows.cuts)])
        at = f"{cuts[0]:.3f}" if len(cuts) == 1 else f"{cuts.min():.3f} to {cuts.max():.3f} in the folds"
        config = evaluation.config
        where = f", chosen on {config.thresholds[name].chosen_on}" if config and name in config.thresholds else ""
        said.append(
            f"An image was called {rows.outcome.classes[1]} from a probability of {at} on (threshold '{name}'{where})."
        )
    if result.subgroups:
        columns = listed([*dict.fromkeys(part.column for part in result.subgroups)])
        said.append(f"Scores of subgroups are by {columns}; no correction was made for their number.")
    return [*said, f"All was computed by mammozoo {__version__}."]


def _results(material: Material) -> list[str]:
    """What came out."""
    result, rows = material.result, _first(material.result)
    o = rows.outcome
    counts = listed([f"{int((o.labels == k).sum()):,} {name}" for k, name in enumerate(o.classes)])
    values = [f"{name} {figure(result.scores[name])}" for name in HEADLINES if name in result.scores]
    of = ["folds"] * (len(np.unique(rows.folds)) > 1)
    repeats = len(result.evaluation.predictions.by_repeat())
    of += [f"{repeats} repeats; counts are those of the first"] * (repeats > 1)
    mean = f" (means over the {' and '.join(of)})" if of else ""
    said = [f"Scored were {_counted(rows)}: {counts}.", f"With 95 % intervals{mean}: {listed(values)}."]
    if (missed := result.study.get("missed")) and missed["of"]:
        said.append(
            f"Of {missed['of']:,} positive images ({' or '.join(result.study['positive'])}) {missed['n']:,} were missed."
        )
    for column in dict.fromkeys(part.column for part in result.subgroups):
        parts = [part for part in result.subgroups if part.column == column]
        shown = [
            f"{part.value} {figure(part.scores.get('auc'))}" for part in parts if part.scores and "auc" in part.scores
        ]
        said.append(
            f"AUC by {column}{folds_pooled(result)}: {listed(shown)}."
            if shown
            else f"By {column} no part was large enough."
        )
    if result.stamps:
        said.append(f"These results carry the labels: {listed(result.stamps)}.")
    return said
