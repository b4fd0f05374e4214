"""The results of a paper: every complete run, scored over its seeds, beside the reported numbers; and their tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammozoo.evaluation.metric import Metric, printed
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.seeds import SeedScore, align, mean_score
from mammozoo.files import write_json, write_table, write_text
from mammozoo.plugins import registry
from mammozoo.reproduction.departures import departures, split_text, verdict
from mammozoo.reproduction.paper import PROTOCOLS, Paper, ProtocolName
from mammozoo.training.run_directory import RunDirectory

COLUMNS = (
    "row", "metric", "reported", "obtained (95 % interval)", "seeds", "images, groups", "split", "protocol", "verdict",
)  # fmt: skip
GAP_COLUMNS = ("row", "metric", "published − sound (95 % interval)", "seeds")


@dataclass(frozen=True)
class Line:
    """One score of one row under one protocol; None for a missing number."""

    row: str
    metric: str
    reported: float | None
    obtained: float | None  #: mean over the seeds, with its 95 % interval `low` to `high`
    low: float | None
    high: float | None
    least: float | None  #: the lowest of the seeds, `most` the highest
    most: float | None
    images: int  #: how many different ones were tested, by any seed; `groups` likewise
    groups: int
    seeds: int
    split: str
    protocol: ProtocolName
    verdict: str  #: how `obtained` compares with `reported`; `failed: …` if no run is complete


@dataclass(frozen=True)
class Gap:
    """How much the published protocol adds to a score of one row: published minus sound, as in `Line`."""

    row: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    seeds: int


@dataclass(frozen=True)
class Remark:
    """A departure and the rows that it applies to, as `protocol/row`; empty if it applies to all."""

    text: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """The content of a paper's tables."""

    paper: Paper
    lines: tuple[Line, ...]
    gaps: tuple[Gap, ...]
    remarks: tuple[Remark, ...]

    @property
    def failed(self) -> bool:
        """Whether a requested row has no number, or lacks a seed."""
        return any("failed: " in line.verdict for line in self.lines)


def collect(paper: Paper, out: Path, failed: Mapping[Path, str] | None = None) -> Results:
    """Read all complete runs of `paper` below `out`, those of earlier calls too. `failed` are folders with reasons."""
    reasons = {(p.parent.parent.name, p.parent.name): reason for p, reason in (failed or {}).items()}
    lines: list[Line] = []
    gaps: list[Gap] = []
    remarks: dict[str, list[str]] = {}
    for row in paper.rows:
        runs = {protocol: _complete_runs(out / protocol / row.name) for protocol in paper.protocols}
        tests = {
            (protocol, seed): read_predictions(run.path).of("test")
            for protocol, by_seed in runs.items()
            for seed, run in by_seed.items()
        }
        joined = align(list(tests.values())) if tests else []
        outcomes = {  # of each fold of each repeat; all weigh the same
            key: [o for one in dataclasses.replace(tests[key], outcome=outcome).by_repeat() for o in one.by_fold()]
            for key, outcome in zip(tests, joined, strict=True)
        }
        for protocol, by_seed in runs.items():
            reason = reasons.get((protocol, row.name))
            departed = list(
                dict.fromkeys(d for run in by_seed.values() for d in departures(paper, protocol, row.name, run))
            )
            for departure in departed:
                text = f"stamped: {departure.text}" if departure.kind == "stamp" else departure.text
                remarks.setdefault(text, []).append(f"{protocol}/{row.name}")
            tested = [outcomes[protocol, seed] for seed in by_seed]
            images = {sample for seed in by_seed for sample in tests[protocol, seed].samples.tolist()}
            groups = {group for folds in tested for outcome in folds for group in outcome.groups.tolist()}
            split = next((split_text(run.recipe.split) for run in by_seed.values()), "")
            for name in paper.scores if by_seed or reason else ():
                score, reported = _score(name, tested), row.reported.get(name)
                words = verdict(departed, reported, score.low, score.high) if by_seed else f"failed: {reason}"
                if by_seed and reason:
                    words += f"; a seed failed: {reason}"
                counts = len(images), len(groups), len(by_seed)
                lines.append(Line(row.name, name, reported, *score, *counts, split, protocol, words))
        shared = [seed for seed in runs.get("published", ()) if seed in runs.get("sound", ())]
        a, b = ([outcomes[protocol, seed] for seed in shared] for protocol in PROTOCOLS)
        for name in paper.scores if shared else ():
            gaps.append(Gap(row.name, name, *_score(name, a, minus=b), len(shared)))
    lines.sort(key=lambda line: list(paper.protocols).index(line.protocol))
    everywhere = len({(line.protocol, line.row) for line in lines if line.seeds})
    found = (Remark(text, () if len(rows) == everywhere else tuple(rows)) for text, rows in remarks.items())
    return Results(paper, tuple(lines), tuple(gaps), tuple(found))


def rows(results: Results) -> list[tuple[str, ...]]:
    """The cells of the main table, under `COLUMNS`."""
    cells: list[tuple[str, ...]] = []
    for line in results.lines:
        obtained = _with_bounds(line.obtained, line.low, line.high)
        seeds = _with_range(line.seeds, line.least, line.most)
        tested = f"{line.images}, {line.groups}" if line.images else "–"
        start = (line.row, printed(line.metric), _with_bounds(line.reported), obtained, seeds, tested)
        cells.append((*start, line.split or "–", line.protocol, line.verdict))
    return cells


def gap_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells of the second table, under `GAP_COLUMNS`."""
    return [
        (
            g.row,
            printed(g.metric),
            _with_bounds(g.difference, g.low, g.high, "+"),
            _with_range(g.seeds, g.least, g.most, "+"),
        )
        for g in results.gaps
    ]


def remark_text(remark: Remark) -> str:
    """A departure with the rows that it applies to."""
    return f"{remark.text} ({', '.join(remark.where)})" if remark.where else remark.text


def as_json(results: Results) -> dict[str, Any]:
    """All numbers at full precision."""
    stated = ("key", "title", "citation", "data", "split", "n")
    return {
        "paper": {name: getattr(results.paper, name) for name in stated},
        "rows": [dataclasses.asdict(line) for line in results.lines],
        "differences": [dataclasses.asdict(gap) for gap in results.gaps],
        "departures": [dataclasses.asdict(remark) for remark in results.remarks],
    }


def markdown(results: Results) -> str:
    """The tables and the departures as one Markdown page."""
    paper = results.paper
    tested = f", {paper.n} test images" if paper.n is not None else ""
    parts = [
        f"# {paper.title}",
        f"{' '.join(paper.citation.split())}",
        f"Of the paper: {paper.data}; split: {paper.split or 'not stated'}{tested}.",
        _table(COLUMNS, rows(results)),
    ]
    if results.gaps:
        parts += ["## What the published protocol adds", _table(GAP_COLUMNS, gap_rows(results))]
    if results.remarks:
        parts += ["## Departures", "\n".join(f"* {remark_text(remark)}" for remark in results.remarks)]
    return "\n\n".join(parts) + "\n"


#: What `write_tables` writes.
WRITTEN = ("table.md", "table.csv", "table.json")


def write_tables(results: Results, out: Path) -> list[Path]:
    """`table.md`, `table.csv` and `table.json` in `out`; existing ones are replaced."""
    return [
        write_text(out / "table.md", markdown(results)),
        write_table(out / "table.csv", [dataclasses.asdict(line) for line in results.lines]),
        write_json(out / "table.json", {"schema": 1, **as_json(results)}),
    ]


def _complete_runs(folder: Path) -> dict[int, RunDirectory]:
    """Seed → run, by rising seed."""
    paths = sorted(folder.glob("seed-*/run.json"), key=lambda p: (len(p.parent.name), p.parent.name))
    runs = [RunDirectory.open(path.parent) for path in paths]
    return {run.recipe.seed: run for run in runs if run.facts.get("status") == "done"}


def _score(name: str, outcomes: Sequence[Sequence[Outcome]], *, minus: Sequence[Sequence[Outcome]] = ()) -> SeedScore:
    """The mean over seeds of a score, or its mean difference; undefined if the classes do not have that score."""
    metric: Metric = registry().get("metrics", name.partition("[")[0])
    classes = {outcome.classes for folds in (*outcomes, *minus) for outcome in folds}
    keys = metric.keys(*classes) if len(classes) == 1 else {}
    if name not in keys:
        return SeedScore(None, None, None, None, None)
    return mean_score(metric, keys[name], outcomes, minus=minus)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with_bounds(value: float | None, low: float | None = None, high: float | None = None, sign: str = "") -> str:
    number = "–" if value is None else f"{value:{sign}.3f}"
    return number if low is None or high is None else f"{number} ({low:{sign}.3f} to {high:{sign}.3f})"


def _with_range(seeds: int, least: float | None, most: float | None, sign: str = "") -> str:
    if seeds < 2 or least is None or most is None:
        return str(seeds) if seeds else "–"
    return f"{seeds}: {least:{sign}.3f} to {most:{sign}.3f}"
