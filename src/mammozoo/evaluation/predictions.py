"""`predictions.csv`: each fold's predictions of its train, val and test images; every score can be computed from it again.

With nested folds the rows of an outer fold are its test images, by the mean probability of its inner models. The inner models
have rows of their own, in which the part of the test images is `inner-test`. Several repeats are told apart by the column `repeat`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.loaded import Data
from mammozoo.data.splits.make import PARTS
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError, nearest, reason
from mammozoo.evaluation.outcome import Outcome, among, decide
from mammozoo.files import read_table
from mammozoo.models.config import read_config

INNER_TEST = "inner-test"  #: the part of the test images in the rows of a single inner model
#: What a run writes into columns that are not free texts.
_PATTERNS = {
    "folds": r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*",
    "parts": "|".join((*PARTS, INNER_TEST)),
    "repeats": "[0-9]{0,9}",
}
_ROUNDED = 1e-4  # by which a row of probabilities may miss 1
_META = "meta_"  # prefix of the columns that only the data set knows
_SIDE = re.compile(r"(breast|image)?(side|laterality)|left(or)?right(breast)?")  # columns, by their letters
_IN_NAME = re.compile(r"(?<![a-z])(l|r|left|right)[ _-]?(?:cc|mlo?|lm|xccl?)?(?![a-z])", re.IGNORECASE)  # P01_L_CC.png


@dataclass(frozen=True)
class Predictions:
    """Rows of the table, in its order; texts are empty if unknown.

    Attributes:
        outcome: labels, probabilities, decisions and groups of all rows.
        cuts: (N,) thresholds in force, NaN with more than two classes.
        meta: column → (N,) texts: further columns of the data set.
        repeats: (N,) number of the repeat, `0`, `1` …; empty texts if there is one.
        decided_only: whether nobody knows probabilities: those of the outcome are 1 for the decision.
    """

    samples: npt.NDArray[np.str_]
    folds: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    lesions: npt.NDArray[np.str_]
    outcome: Outcome
    cuts: npt.NDArray[np.float64]
    meta: dict[str, npt.NDArray[np.str_]]
    repeats: npt.NDArray[np.str_] = dataclasses.field(default_factory=lambda: np.array([], str))
    decided_only: bool = False

    def __post_init__(self) -> None:
        if not len(self.repeats):
            object.__setattr__(self, "repeats", np.full(len(self), ""))

    def __len__(self) -> int:
        return len(self.samples)

    def of(self, part: str) -> Predictions:
        """The rows of one part, sorted by sample and then fold, so that two runs on one test set stand in one order."""
        index = np.flatnonzero(self.parts == part)
        return self.take(index[np.lexsort((self.folds[index], self.samples[index]))])

    def take(self, index: npt.NDArray[np.intp]) -> Predictions:
        """Some of the rows."""
        names = ("samples", "folds", "parts", "patients", "lesions", "cuts", "repeats")
        columns: dict[str, Any] = {name: getattr(self, name)[index] for name in names}
        meta = {column: values[index] for column, values in self.meta.items()}
        return dataclasses.replace(self, **columns, outcome=self.outcome.take(index), meta=meta)

    def among(self, classes: tuple[str, ...]) -> Predictions:
        """The rows of some of the classes, as `outcome.among` has them; all, unchanged, if these are all classes."""
        if classes == self.outcome.classes:
            return self
        numbers = [self.outcome.classes.index(name) for name in classes]
        rows = self.take(np.flatnonzero(np.isin(self.outcome.labels, numbers)))
        cuts = np.full(len(rows), 0.5 if len(classes) == 2 else np.nan)
        return dataclasses.replace(rows, outcome=among(self.outcome, classes), cuts=cuts)

    def by_repeat(self) -> list[Predictions]:
        """The rows of each repeat, the first one first; one element if there are no repeats."""
        numbers = sorted(set(self.repeats.tolist()) or {""}, key=lambda text: int(text or 0))
        if len(numbers) == 1:
            return [self]
        return [self.take(np.flatnonzero(self.repeats == number)) for number in numbers]

    def by_fold(self) -> list[Outcome]:
        """The outcome of each fold, in the order of their names."""
        names = sorted({*self.folds.tolist()})
        if len(names) == 1:
            return [self.outcome]
        return [self.outcome.take(np.flatnonzero(self.folds == fold)) for fold in names]

    def in_order(self, classes: tuple[str, ...]) -> Predictions:
        """The same with its classes in this order; as it is if they are two, of which one is positive, or are others."""
        o = self.outcome
        if o.classes == classes or len(classes) < 3 or {*o.classes} != {*classes}:
            return self
        order = np.array([o.classes.index(name) for name in classes])
        number = np.argsort(order)
        changed = Outcome(classes, number[o.labels], o.probabilities[:, order], number[o.decisions], o.groups)
        return dataclasses.replace(self, outcome=changed)

    def cut_at(self, cuts: npt.NDArray[np.float64]) -> Predictions:
        """The same probabilities with decisions at (N,) other thresholds; with more than two classes nothing changes."""
        if not self.outcome.binary:
            return self
        decisions = decide(self.outcome.probabilities, cuts)
        return dataclasses.replace(self, cuts=cuts, outcome=dataclasses.replace(self.outcome, decisions=decisions))

    @staticmethod
    def from_rows(rows: Sequence[Mapping[str, Any]], classes: tuple[str, ...]) -> Predictions:
        """The predictions of lines of the table, as `rows` gives them or as texts."""

        def column(name: str) -> npt.NDArray[np.str_]:
            return _texts(row.get(name, "") for row in rows)

        outcome = Outcome(
            classes,
            np.array([classes.index(row["label"]) for row in rows], np.intp),
            np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows]).reshape(-1, len(classes)),
            np.array([classes.index(row["decision"]) for row in rows], np.intp),
            np.array([int(row["group"]) for row in rows], np.intp),
        )
        meta = {key.removeprefix(_META): column(key) for key in (rows[0] if rows else {}) if key.startswith(_META)}
        cuts = np.array([float("nan" if row["threshold"] == "" else row["threshold"]) for row in rows])
        return Predictions(
            column("sample"), column("fold"), column("part"), column("patient"), column("lesion"), outcome, cuts, meta,
            column("repeat"),
        )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Lines of the table."""
        o = self.outcome
        return [
            {
                "sample": self.samples[i],
                "group": int(o.groups[i]),
                "patient": self.patients[i],
                "lesion": self.lesions[i],
                "fold": self.folds[i],
                "part": self.parts[i],
                "label": o.classes[o.labels[i]],
                "decision": o.classes[o.decisions[i]],
                "threshold": float(self.cuts[i]) if o.binary else "",
                **{
                    f"p_{name}": float(o.probabilities[i, k])
                    for k, name in enumerate(o.classes)
                    if not self.decided_only
                },
                **{_META + column: values[i] for column, values in self.meta.items()},
                **({"repeat": self.repeats[i]} if self.repeats[i] else {}),
            }
            for i in range(len(self))
        ]

    def units(self, of: str) -> npt.NDArray[np.str_]:
        """(N,) texts by which to tell units apart: `patient`, `breast`, `lesion`, or another column, whatever its capitals.

        Raises:
            UsageError: there is no such column.
        """
        classes = np.array(self.outcome.classes)
        own = {"id": self.samples, "fold": self.folds, "part": self.parts}
        own |= {"truth": classes[self.outcome.labels], "decision": classes[self.outcome.decisions]}
        columns = own | self.meta | {"patient": self.patients, "lesion": self.lesions}
        spelt = {name.casefold(): name for name in columns}
        if (names := unit_names(columns, spelt.get(of.strip().casefold(), of))) is None:
            known = ", ".join(self.meta) or "none"
            raise UsageError(f"These predictions have no column '{of}'.{nearest(of, columns)} Columns: {known}.")
        return names


def unit_names(columns: Mapping[str, npt.NDArray[np.str_]], of: str) -> npt.NDArray[np.str_] | None:
    """(N,) texts of the column `of`; None if there is no such column.

    A `breast` is also the patient with her side: from a column of it, from a column `breast` that says no more than that, or from
    the names of the files, if every one tells it (`P01_L_CC.png`).
    """
    if of != "breast" or "patient" not in columns:
        return columns.get(of)
    plain = {re.sub(r"[\W_]", "", name.casefold()): texts for name, texts in columns.items()}
    side = next((texts for name, texts in plain.items() if _SIDE.fullmatch(name)), None)
    own = columns.get("breast")
    if own is not None and not {text.casefold() for text in own.tolist()} <= {"", "l", "r", "left", "right"}:
        return own
    if side is None and own is None:
        told = [_IN_NAME.search(name) for name in columns.get("path", columns.get("id", _texts(()))).tolist()]
        side = _texts(found[1][0].upper() if found else "" for found in told)
        if not all(side.tolist()):
            return None
    side = side if own is None else own
    assert side is not None
    both = [f"{one} {other}" if one and other else "" for one, other in zip(columns["patient"], side, strict=True)]
    return _texts(both)


def predictions_of(
    data: Data, fold: str, part: str, indices: npt.NDArray[np.intp], p: npt.NDArray[np.float64], cut: float
) -> Predictions:
    """Predictions of one part of the data by a fold's model; `p` are (len(indices), K) probabilities."""
    samples = [data.samples[i] for i in indices]
    columns = dict.fromkeys(key for sample in data.samples for key in sample.meta)
    binary = len(data.classes) == 2
    return Predictions(
        samples=_texts(sample.image for sample in samples),
        folds=_texts(fold for _ in samples),
        parts=_texts(part for _ in samples),
        patients=_texts(sample.patient or "" for sample in samples),
        lesions=_texts(sample.lesion or "" for sample in samples),
        outcome=Outcome(data.classes, data.labels[indices], p, decide(p, cut), data.groups[indices]),
        cuts=np.full(len(samples), cut if binary else np.nan),
        meta={column: _texts(sample.meta.get(column, "") for sample in samples) for column in columns},
    )


def read_predictions(run: Path, part: str = "test") -> Predictions:
    """The table of the run in `run`, or of one of its fits, which has images in this `part`.

    Raises:
        NotFoundError: there is no complete run.
        IncompatibleError: the table was made by another version, or is damaged.
    """
    classes, path = read_config(run).classes, run / "predictions.csv"
    try:
        made = Predictions.from_rows(read_table(path), classes)
        _check(made, part)
        return made
    except FileNotFoundError:
        raise NotFoundError(f"There is no complete run at '{run}': it has no predictions.csv.") from None
    except (KeyError, ValueError, OverflowError) as error:
        raise IncompatibleError(f"'{path}' is not a table of predictions of this mammozoo: {reason(error)}.") from None


def _check(rows: Predictions, part: str) -> None:
    """Raise ValueError for what no run writes: only what is checked here is scored."""
    p, cuts = rows.outcome.probabilities, rows.cuts
    if not (((p >= 0) & (p <= 1)).all() and (np.abs(p.sum(axis=1) - 1) < _ROUNDED).all()):
        raise ValueError("numbers that are no probabilities, or do not sum to 1")
    if not (((cuts >= 0) & (cuts <= 1)) | np.isnan(cuts)).all():
        raise ValueError("a threshold that is no probability")
    for name, pattern in _PATTERNS.items():
        if wrong := [text for text in {*getattr(rows, name).tolist()} if not re.fullmatch(pattern, text)]:
            raise ValueError(f"'{wrong[0]}' among the {name}")
    if part not in rows.parts:
        raise ValueError(f"no image of the part '{part}'")


def _texts(values: Iterable[object]) -> npt.NDArray[np.str_]:
    return np.array([str(value) for value in values], str)
