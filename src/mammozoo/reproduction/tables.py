"""The tables of a paper: the same rows for the terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammozoo.files import write_json, write_table, write_text
from mammozoo.reproduction.results import Remark, Results

COLUMNS = (
    "row", "metric", "reported", "obtained (95 % interval)", "seeds", "images, groups", "split", "protocol", "verdict",
)  # fmt: skip
GAP_COLUMNS = ("row", "metric", "published − sound (95 % interval)", "seeds")


def rows(results: Results) -> list[tuple[str, ...]]:
    """The cells of the main table, under `COLUMNS`."""
    return [
        (
            line.row,
            line.metric,
            _number(line.reported),
            _with_bounds(line.obtained, line.low, line.high),
            _with_range(line.seeds, line.least, line.most),
            f"{line.images}, {line.groups}" if line.images else "–",
            line.split or "–",
            line.protocol,
            line.verdict,
        )
        for line in results.lines
    ]


def gap_rows(results: Results) -> list[tuple[str, ...]]:
    """The cells of the second table, under `GAP_COLUMNS`."""
    return [
        (g.row, g.metric, _with_bounds(g.difference, g.low, g.high, "+"), _with_range(g.seeds, g.least, g.most, "+"))
        for g in results.gaps
    ]


def remark_text(remark: Remark) -> str:
    """A departure with the rows that it applies to."""
    return f"{remark.text} ({', '.join(remark.where)})" if remark.where else remark.text


def as_json(results: Results) -> dict[str, Any]:
    """All numbers at full precision."""
    paper = results.paper
    return {
        "paper": {"key": paper.key, "title": paper.title, "citation": paper.citation, "data": paper.data}
        | {"split": paper.split, "n": paper.n},
        "rows": [dataclasses.asdict(line) for line in results.lines],
        "differences": [dataclasses.asdict(gap) for gap in results.gaps],
        "departures": [{"text": remark.text, "where": list(remark.where)} for remark in results.remarks],
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


def write_tables(results: Results, out: Path) -> list[Path]:
    """`table.md`, `table.csv` and `table.json` in `out`; existing ones are replaced."""
    return [
        write_text(out / "table.md", markdown(results)),
        write_table(out / "table.csv", [dataclasses.asdict(line) for line in results.lines]),
        write_json(out / "table.json", {"schema": 1, **as_json(results)}),
    ]


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _with_bounds(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    if value is None or low is None or high is None:
        return _number(value, sign)
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _with_range(seeds: int, least: float | None, most: float | None, sign: str = "") -> str:
    if seeds < 2 or least is None or most is None:
        return str(seeds) if seeds else "–"
    return f"{seeds}: {least:{sign}.3f} to {most:{sign}.3f}"
