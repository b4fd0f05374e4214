"""Tables of a paper, each as CSV, Markdown and LaTeX (for booktabs)."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mammozoo.evaluation.metric import printed
from mammozoo.evaluation.outcome import confusion_matrix
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.result import EvaluationScores
from mammozoo.evaluation.scores import Score, bounds
from mammozoo.evaluation.subgroups import FEWEST

_MOST = 10  #: values of a column that is shown value by value; with more, numbers have a median
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
}


@dataclass(frozen=True)
class Table:
    """A table with its caption; rows hold a text for each column."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def files(self) -> dict[str, bytes]:
        """`NAME.csv`, `NAME.md` and `NAME.tex`."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        lines = [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in (self.columns, *self.rows)]
        lines.insert(1, ["---", *["---:"] * (len(self.columns) - 1)])
        markdown = f"{self.caption}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in lines)
        body = [" & ".join(map(tex, row)) + r" \\" for row in (self.columns, *self.rows)]
        head = rf"\begin{{table}}\caption{{{tex(self.caption)}}}\label{{tab:{self.name}}}"
        spec = rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}"
        below = [r"\bottomrule", r"\end{tabular}\end{table}", ""]
        latex = "\n".join([head, spec, r"\toprule", body[0], r"\midrule", *body[1:], *below])
        texts = {"csv": text.getvalue(), "md": markdown, "tex": latex}
        return {f"{self.name}.{kind}": content.encode("utf-8", "replace") for kind, content in texts.items()}


def tex(text: str) -> str:
    """A text as LaTeX prints it."""
    return re.sub(
        rf"[&%$#_{{}}{re.escape(''.join(_TEX))}]", lambda m: _TEX.get(m[0], f"\\{m[0]}"), " ".join(text.split())
    )


def characteristics(sets: Mapping[str, Predictions]) -> Table:
    """Images, groups, patients, classes, and further columns, by set."""
    rows = [["images", *(f"{len(one):,}" for one in sets.values())]]
    rows.append(["independent groups", *(f"{len(np.unique(one.outcome.groups)):,}" for one in sets.values())])
    known = [one.patients[one.patients != ""] for one in sets.values()]
    if any(map(len, known)):
        rows.append(["patients", *(f"{len(np.unique(one)):,}" for one in known)])
    classes = next(iter(sets.values())).outcome.classes
    columns = {"label": [np.array(classes)[one.outcome.labels] for one in sets.values()]}
    own = (name for name in next(iter(sets.values())).meta if not re.match(r"(?i)(prob|logit|score|p)_", name))
    columns |= {name: [one.meta[name] for one in sets.values()] for name in own}
    for name, texts in columns.items():
        values = [*dict.fromkeys(np.concatenate(texts).tolist())]
        if len(values) <= _MOST:
            counts = [Counter(one.tolist()) for one in texts]
            rows += [
                [
                    f"{name}: {value or 'unknown'}",
                    *(f"{c[value]:,} ({c[value] / max(1, c.total()):.1%})" for c in counts),
                ]
                for value in (values if name == "label" else sorted(values))
            ]
        elif (found := [_median(one.tolist()) for one in texts]) and all(found):
            rows.append([f"{name}, median (quartiles)", *found])
    return Table("characteristics", "Characteristics by set; n (share) unless said.", ["", *sets], rows)


def _median(texts: Sequence[str]) -> str:
    try:
        low, middle, high = np.quantile(
            [n for text in texts if text and np.isfinite(n := float(text))], (0.25, 0.5, 0.75)
        )
    except (ValueError, IndexError):
        return ""
    return f"{middle:g} ({low:g}–{high:g})"


def figure(score: Score | None) -> str:
    """A value with its interval."""
    if score is None or score.value is None:
        return "undefined"
    return f"{score.value:.3f} ({bounds(score)})" if bounds(score) else f"{score.value:.3f}"


def folds_pooled(result: EvaluationScores) -> str:
    """How scores of parts go with several folds; nothing, if there was one."""
    return ", folds pooled" if len(np.unique(result.evaluation.predictions.folds)) > 1 else ""


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def tables(result: EvaluationScores, sets: Mapping[str, Predictions]) -> list[Table]:
    """All tables that the predictions have numbers for."""
    rows, study = result.evaluation.predictions.by_repeat()[0], result.study
    pooled = any(score.pooled is not None for score in result.scores.values())
    found = [characteristics(sets)]
    how = "; means over folds, with the value of all folds pooled beside" if pooled else ""
    cells = [
        [printed(name), figure(s), *(["–" if s.pooled is None else f"{s.pooled:.3f}"] if pooled else []), f"{s.n:,}"]
        for name, s in result.scores.items()
    ]
    heads = ["score", "value (95 % interval)", *(["pooled"] if pooled else []), "n"]
    found.append(Table("performance", f"Performance with 95 % intervals by bootstrap over groups{how}.", heads, cells))
    o = rows.outcome
    cells = [[name, *map(str, line)] for name, line in zip(o.classes, confusion_matrix(o).tolist(), strict=True)]
    found.append(
        Table("confusion", "Decisions (columns) by reference standard (rows); images.", ["", *o.classes], cells)
    )
    if "risk_coverage" in study:
        names = ["coverage", "accuracy", "sensitivity", "specificity", "missed", "positives_abstained"]
        cells = [
            [f"≥ {row['confidence']:g}", *(_cell(row[name]) for name in names)] for row in study["risk_coverage"]["at"]
        ]
        text = "Decisions if only images from a confidence on are decided; missed are positives among these."
        found.append(Table("risk-coverage", text, ["confidence", *(k.replace("_", " ") for k in names)], cells))
    if result.subgroups:
        shown = [name for name in ("auc", "sensitivity", "specificity", "accuracy") if name in result.scores]
        cells = [
            [f"{part.column}: {part.value}", f"{part.n:,}", f"{part.groups:,}"]
            + [figure(part.scores.get(name)) if part.scores else "too few" for name in shown]
            for part in result.subgroups
        ]
        text = f"Scores by subgroup{folds_pooled(result)}; none for fewer than {FEWEST} independent groups."
        found.append(Table("subgroups", text, ["part", "n", "groups", *map(printed, shown)], cells))
    return found
