"""What came out: every complete run of a paper, read from its folder and scored over its seeds beside what was reported."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import Predictions, read_predictions
from mammozoo.evaluation.seeds import SeedScore, align, mean_difference, mean_score
from mammozoo.plugins import registry
from mammozoo.reproduction.departures import Departure, departures, split_text, verdict
from mammozoo.reproduction.paper import Paper, ProtocolName
from mammozoo.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Line:
    """One score of one row under one protocol. None where there is no such number.

    Attributes:
        obtained: mean over the seeds, with its 95 % interval `low` to `high`.
        least, most: the lowest and the highest of the seeds.
        images, groups: how many different ones were tested, by any seed.
        verdict: what may be said of `obtained` beside `reported`; `failed: …` where no run is complete.
    """

    row: str
    metric: str
    reported: float | None
    obtained: float | None
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    images: int
    groups: int
    seeds: int
    split: str
    protocol: ProtocolName
    verdict: str


@dataclass(frozen=True)
class Gap:
    """What the published protocol adds to a score of one row: published minus sound, as in `Line`."""

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
    """A departure and the rows that it holds for, as `protocol/row`; empty where it holds for all."""

    text: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """Everything that the tables of a paper say."""

    paper: Paper
    lines: tuple[Line, ...]
    gaps: tuple[Gap, ...]
    remarks: tuple[Remark, ...]

    @property
    def failed(self) -> bool:
        """Whether a row that was asked for has no number, or has lost a seed."""
        return any("failed: " in line.verdict for line in self.lines)


@dataclass(frozen=True)
class _Cell:
    """The complete runs of one row under one protocol, by seed, with their test predictions."""

    runs: dict[int, RunDirectory]
    tests: dict[int, Predictions]


def collect(paper: Paper, out: Path, failed: Mapping[Path, str] | None = None) -> Results:
    """Read all complete runs of `paper` below `out`, those of earlier calls too. `failed` are folders with reasons."""
    reasons = {(p.parent.parent.name, p.parent.name): why for p, why in (failed or {}).items()}
    lines: list[Line] = []
    gaps: list[Gap] = []
    where: dict[str, list[str]] = {}
    present = []
    for row in paper.rows:
        cells = {protocol: _read(out / protocol / row.name) for protocol in paper.protocols}
        flat = [(protocol, seed) for protocol, cell in cells.items() for seed in cell.tests]
        outcomes = dict(zip(flat, align([cells[p].tests[s] for p, s in flat]), strict=True)) if flat else {}
        for protocol, cell in cells.items():
            why = reasons.get((protocol, row.name), "")
            if not cell.runs:
                if why:
                    lines += [
                        _no_line(row.name, score, row.reported.get(score), protocol, why) for score in paper.scores
                    ]
                continue
            found = _departures(paper, protocol, row.name, cell.runs.values())
            present.append(f"{protocol}/{row.name}")
            for departure in found:
                where.setdefault(_remark(departure), []).append(present[-1])
            mine = [outcomes[protocol, seed] for seed in cell.tests]
            first = next(iter(cell.runs.values())).recipe
            for name in paper.scores:
                score = _score(name, mine)
                told = verdict(found, row.reported.get(name), *_bounds(score))
                lines.append(
                    Line(
                        row.name, name, row.reported.get(name), _value(score), *_bounds(score), *_range(score),
                        len(np.unique(np.concatenate([test.samples for test in cell.tests.values()]))),
                        len(np.unique(np.concatenate([outcome.groups for outcome in mine]))),
                        len(mine), split_text(first.split), protocol,
                        f"{told}; a seed failed: {why}" if why else told,
                    )
                )  # fmt: skip
        gaps += _gaps(paper, row.name, cells, outcomes)
    remarks = [Remark(text, () if len(rows) == len(present) else tuple(rows)) for text, rows in where.items()]
    order = {protocol: number for number, protocol in enumerate(paper.protocols)}
    lines.sort(key=lambda line: order[line.protocol])
    return Results(paper, tuple(lines), tuple(gaps), tuple(remarks))


def _read(folder: Path) -> _Cell:
    runs, tests = {}, {}
    for path in sorted(folder.glob("seed-*/run.json"), key=lambda p: (len(p.parent.name), p.parent.name)):
        run = RunDirectory.open(path.parent)
        if run.facts.get("status") == "done":
            runs[run.recipe.seed] = run
            tests[run.recipe.seed] = read_predictions(run.path).of("test")
    return _Cell(runs, tests)


def _departures(paper: Paper, protocol: ProtocolName, row: str, runs: Iterable[RunDirectory]) -> list[Departure]:
    every = itertools.chain.from_iterable(departures(paper, protocol, row, run) for run in runs)
    return list(dict.fromkeys(every))


def _remark(departure: Departure) -> str:
    return f"stamped: {departure.text}" if departure.kind == "stamp" else departure.text


def _gaps(
    paper: Paper, row: str, cells: dict[ProtocolName, _Cell], outcomes: dict[tuple[ProtocolName, int], Outcome]
) -> list[Gap]:
    """The differences over the seeds that both protocols have."""
    if not {"published", "sound"} <= set(cells):
        return []
    both = [seed for seed in cells["published"].tests if seed in cells["sound"].tests]
    if not both:
        return []
    a, b = ([outcomes[protocol, seed] for seed in both] for protocol in ("published", "sound"))
    found = []
    for name in paper.scores:
        known = _known(name, [*a, *b])
        score = None if known is None else mean_difference(*known, a, b)
        found.append(Gap(row, name, _value(score), *_bounds(score), *_range(score), len(both)))
    return found


def _score(name: str, outcomes: list[Outcome]) -> SeedScore | None:
    known = _known(name, outcomes)
    return None if known is None else mean_score(*known, outcomes)


def _known(name: str, outcomes: list[Outcome]) -> tuple[Metric, int | None] | None:
    """The metric and class that a score's name means for these outcomes; None where they have no such score."""
    metric: Metric = registry().get("metrics", name.partition("[")[0])
    if len({outcome.classes for outcome in outcomes}) > 1 or name not in metric.keys(outcomes[0].classes):
        return None
    return metric, metric.keys(outcomes[0].classes)[name]


def _no_line(row: str, score: str, reported: float | None, protocol: ProtocolName, why: str) -> Line:
    return Line(row, score, reported, None, None, None, None, None, 0, 0, 0, "", protocol, f"failed: {why}")


def _value(score: SeedScore | None) -> float | None:
    return None if score is None else _finite(score.value)


def _bounds(score: SeedScore | None) -> tuple[float | None, float | None]:
    return (None, None) if score is None else (_finite(score.low), _finite(score.high))


def _range(score: SeedScore | None) -> tuple[float | None, float | None]:
    return (None, None) if score is None else (_finite(min(score.seeds)), _finite(max(score.seeds)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
