"""Some of the rows of predictions, and some of their classes: a subset that was named beforehand, and composites of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammozoo.errors import UsageError
from mammozoo.evaluation.class_names import match, sign, word
from mammozoo.evaluation.conditions import holds
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.prediction_table import PredictionTable, is_table, read_prediction_table
from mammozoo.evaluation.predictions import Predictions, read_predictions


@dataclass(frozen=True)
class Selection:
    """What of predictions is scored, and how a table of them is read.

    Attributes:
        truth: a table that holds the truth of another.
        columns: `ROLE=COLUMN` for what is not recognised in a table.
        positive, negative: classes that are one; of `positive` alone all others are negative. Empty for the classes as they are.
        where: conditions on columns, joined by `and`; empty for all rows.
    """

    truth: Path | None = None
    columns: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    where: str = ""

    @staticmethod
    def of(
        truth: str | Path | None,
        columns: str | Sequence[str],
        positive: str | None,
        negative: str | None,
        where: str | None,
    ) -> Selection:
        """From what people write: classes separated by commas."""
        ill, well = (
            tuple(word(name) for name in (text or "").split(",") if name.strip()) for text in (positive, negative)
        )
        if well and not ill:
            raise UsageError("--negative goes with --positive.")
        asked = (columns,) if isinstance(columns, str) else tuple(columns)
        return Selection(None if truth is None else Path(truth), asked, ill, well, where or "")

    def refuse_for_model(self) -> None:
        """Raise UsageError for what only a table has."""
        if self.truth or self.columns:
            raise UsageError("--truth and --columns are for a table of predictions.")

    def apply(self, rows: Predictions) -> tuple[Predictions, list[str]]:
        """The selected rows with their classes, and what there is to say of it; UsageError if nothing is left."""
        notes = []
        if self.where:
            index = np.flatnonzero(holds(rows.units, len(rows), self.where))
            notes.append(f"Where {self.where}: {len(index):,} of {len(rows):,} rows.")
            if not len(index):
                raise UsageError(f"No row is left where {self.where}.")
            rows = rows.take(index)
        rows, said = self.joined(rows)
        return rows, notes + said

    def joined(self, rows: Predictions) -> tuple[Predictions, list[str]]:
        """All rows of the selected classes, and what there is to say of it."""
        return composite(rows, self.positive, self.negative) if self.positive else (rows, [])


ALL = Selection()  #: everything as it is


def read_selected(reference: str | Path, selection: Selection) -> tuple[Predictions, list[str]]:
    """The predictions of all parts of a run, or those in a table, as far as they are selected; and what there is to say."""
    if not is_table(reference):
        return selection.apply(read_predictions(Path(reference)))
    rows, table = read_table(Path(reference), selection)
    return rows, [table.said, *table.notes]


def read_table(path: Path, selection: Selection, cut: float | None = None) -> tuple[Predictions, PredictionTable]:
    """What is selected of a table, and the table; rows are left out before anything is made of their classes."""
    table = read_prediction_table(path, selection.truth, selection.columns, cut, selection.where)
    rows, notes = selection.joined(table.predictions)
    return rows, dataclasses.replace(table, notes=(*table.notes, *notes))


def composite(rows: Predictions, positive: Sequence[str], negative: Sequence[str]) -> tuple[Predictions, list[str]]:
    """Two classes of several: rows of a class that is in neither are left out. Notes say what the decisions are.

    The probability of a side is the sum of its classes'; if classes are left out, its share of what both sides have. A decision
    stays what it was: that for the side which holds the class decided for.

    Raises:
        UsageError: no such class, one on both sides, or no row is left.
    """
    o = rows.outcome
    words = {word(name): number for number, name in enumerate(o.classes)}
    meant = match([*positive, *negative], [*words])
    if unknown := [name for name, hit in meant.items() if hit is None]:
        raise UsageError(f"There is no class '{unknown[0]}', or it is named twice. Classes: {', '.join(o.classes)}.")
    sides = [[words[hit] for name in names if (hit := meant[name]) is not None] for names in (negative, positive)]
    sides[0] = sides[0] or [number for number in range(len(o.classes)) if number not in sides[1]]
    if set(sides[0]) & set(sides[1]) or not sides[0]:
        raise UsageError("A class is on one side, positive or negative, and each side needs one.")
    names = tuple(" or ".join(o.classes[number] for number in side) for side in sides)
    if len(o.classes) == 2 and sides[1] == [1]:
        return rows, []
    kept = np.flatnonzero(np.isin(o.labels, [*sides[0], *sides[1]]))
    if not len(kept):
        raise UsageError(f"No row is {' or '.join(names)}.")
    sums = np.stack([o.probabilities[:, side].sum(axis=1) for side in sides], axis=1)[kept]
    used = [*sides[0], *sides[1]]
    decisions = o.decisions[kept]
    notes = [f"Positive is {names[1]}, negative {names[0]}."]
    if len(used) < len(o.classes):
        left_out = ", ".join(name for number, name in enumerate(o.classes) if number not in used)
        notes.append(f"Rows of {left_out} are left out ({len(rows) - len(kept):,}).")
        if not rows.decided_only:
            total = sums.sum(axis=1, keepdims=True)
            sums = np.divide(sums, total, out=np.full_like(sums, 0.5), where=total > 0)
            decisions = np.array(used)[o.probabilities[kept][:, used].argmax(axis=1)]
            notes += [
                "Probabilities are shares of those of the other classes.",
                "Decisions are for the most probable of them.",
            ]
    elif len(used) > 2:
        notes.append("Decisions are those for the single classes, put together.")
    called = np.isin(decisions, sides[1]).astype(np.intp)
    cuts = 1 - rows.cuts[kept] if len(o.classes) == 2 else np.full(len(kept), 0.5)
    outcome = Outcome(names, np.isin(o.labels[kept], sides[1]).astype(np.intp), sums, called, o.groups[kept])
    return dataclasses.replace(rows.take(kept), outcome=outcome, cuts=cuts), notes


def positives(classes: Sequence[str]) -> tuple[int, ...]:
    """The classes whose samples are to be found: of two the second, of more those whose names mean ill."""
    if len(classes) == 2:
        return (1,)
    return tuple(number for number, name in enumerate(classes) if sign(word(name)) > 0)
