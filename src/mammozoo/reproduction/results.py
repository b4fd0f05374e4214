"""The results of a paper: every complete run, scored over its seeds, beside the reported numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.seeds import SeedScore, align, mean_difference, mean_score
from mammozoo.plugins import registry
from mammozoo.reproduction.departures import departures, split_text, verdict
from mammozoo.reproduction.paper import Paper, ProtocolName
from mammozoo.training.run_directory import RunDirectory

_UNDEFINED = SeedScore(None, None, None, None, None)


@dataclass(frozen=True)
class Line:
    """One score of one row under one protocol; None for a missing number.

    Attributes:
        obtained: mean over the seeds, with its 95 % interval `low` to `high`.
        least, most: the lowest and the highest of the seeds.
        images, groups: how many different ones were tested, by any seed.
        verdict: how `obtained` compares with `reported`; `failed: …` if no run is complete.
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
        outcomes = dict(zip(tests, align(list(tests.values())), strict=True)) if tests else {}
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
            groups = {group for outcome in tested for group in outcome.groups.tolist()}
            split = next((split_text(run.recipe.split) for run in by_seed.values()), "")
            for name in paper.scores if by_seed or reason else ():
                score, reported = _score(name, tested), row.reported.get(name)
                words = verdict(departed, reported, score.low, score.high) if by_seed else f"failed: {reason}"
                if by_seed and reason:
                    words += f"; a seed failed: {reason}"
                lines.append(
                    Line(
                        row.name, name, reported, score.value, score.low, score.high, score.least, score.most,
                        len(images), len(groups), len(by_seed), split, protocol, words,
                    )
                )  # fmt: skip
        shared = [seed for seed in runs.get("published", ()) if seed in runs.get("sound", ())]
        a, b = ([outcomes[protocol, seed] for seed in shared] for protocol in ("published", "sound"))
        for name in paper.scores if shared else ():
            score = _score(name, a, minus=b)
            gaps.append(Gap(row.name, name, score.value, score.low, score.high, score.least, score.most, len(shared)))
    present = {f"{line.protocol}/{line.row}" for line in lines if line.seeds}
    lines.sort(key=lambda line: list(paper.protocols).index(line.protocol))
    return Results(
        paper,
        tuple(lines),
        tuple(gaps),
        tuple(Remark(text, () if len(rows) == len(present) else tuple(rows)) for text, rows in remarks.items()),
    )


def _complete_runs(folder: Path) -> dict[int, RunDirectory]:
    """Seed → run, by rising seed."""
    paths = sorted(folder.glob("seed-*/run.json"), key=lambda p: (len(p.parent.name), p.parent.name))
    runs = [RunDirectory.open(path.parent) for path in paths]
    return {run.recipe.seed: run for run in runs if run.facts.get("status") == "done"}


def _score(name: str, outcomes: Sequence[Outcome], *, minus: Sequence[Outcome] = ()) -> SeedScore:
    """The mean over seeds of a score, or its mean difference; undefined if the classes do not have that score."""
    metric: Metric = registry().get("metrics", name.partition("[")[0])
    classes = {outcome.classes for outcome in (*outcomes, *minus)}
    keys = metric.keys(*classes) if len(classes) == 1 else {}
    if name not in keys:
        return _UNDEFINED
    return mean_difference(metric, keys[name], outcomes, minus) if minus else mean_score(metric, keys[name], outcomes)
