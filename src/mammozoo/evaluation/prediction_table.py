"""Predictions that anybody made, as a table: the same `Predictions` as those of a run, so that all statistics are one code.

image_id,patient_id,ground_truth,prob_benign,prob_malignant,device
a.png,P1,malignant,0.12,0.88,GE

Nothing is guessed in silence: `taken` and `notes` say what was understood, and `columns` says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.errors import NotFoundError, UsageError
from mammozoo.evaluation.conditions import holds
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.table_classes import decisions_of, numbered, probabilities_of, truths_of
from mammozoo.evaluation.table_roles import Draft, Texts, part_of, read_asked, recognise
from mammozoo.files import absent
from mammozoo.tables import SUFFIXES, Columns


@dataclass(frozen=True)
class PredictionTable:
    """A table's predictions; `taken` is role → column, `notes` say what else was understood, and what was left out."""

    path: Path
    predictions: Predictions
    taken: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def said(self) -> str:
        """Which columns were taken for what."""
        return "Taken: " + "; ".join(f"{role}: {column}" for role, column in self.taken.items()) + "."


def is_table(reference: str | Path) -> bool:
    """Whether this names a table, and no model; NotFoundError if there is no such file."""
    path = Path(reference)
    if path.suffix.lower() not in (*SUFFIXES, ".parquet") or path.is_dir():
        return False
    if not path.is_file():
        raise NotFoundError(f"There is no table '{path}'.{absent(path)}")
    return True


def read_prediction_table(
    path: Path, truth: Path | None = None, columns: Sequence[str] = (), cut: float | None = None, where: str = ""
) -> PredictionTable:
    """The predictions in a table, all of them of the part `test`.

    Args:
        truth: a table of its own with id and truth; its further columns come along.
        columns: `ROLE=COLUMN` for what is not recognised: a role of `ROLES`, `prob_CLASS` or `logit_CLASS`; `none` leaves it out.
        cut: the threshold of two classes; without it the decisions or the threshold in the table, else 0.5.
        where: conditions on columns, see `holds`; other rows are left out.

    Raises:
        UsageError: there is nothing to score, or a row contradicts itself; the message names its line.
        NotFoundError: there is no such file.
    """
    draft, asked = Draft.of(path), read_asked(columns)
    recognise(draft, asked, joined=truth is not None)
    if truth is not None:
        _join(draft, truth, asked)
    if "truth" not in draft.taken:
        raise draft.lacks("truth", "Name it: --columns truth=COLUMN; or give it in a table of its own: --truth TABLE")
    _test_part(draft)
    if where:
        kept, n = holds(draft.column, len(draft), where), len(draft)
        if not kept.any():
            raise UsageError(f"No row of '{path}' is left where {where}.")
        draft.keep(kept)
        draft.notes.append(f"Where {where}: {len(draft):,} of {n:,} rows.")
    truths = truths_of(draft)
    classes, p, names = probabilities_of(draft, [*dict.fromkeys(truths)], asked)
    for unused in {"score", "logit", "confidence"} & draft.taken.keys():
        del draft.taken[unused]
    labels = numbered(truths, names, classes)
    decisions = None if cut is not None else decisions_of(draft, classes)
    cuts = np.full(len(draft), np.nan if len(classes) > 2 else 0.5 if cut is None else cut)
    if cut is None and len(classes) == 2 and "cut" in draft.taken:
        cuts = draft.numbers(column := draft.taken["cut"])
        if (wrong := (cuts < 0) | (cuts > 1)).any():
            raise draft.refusal(wrong, f"the threshold '{column}' is {cuts[wrong][0]:.6g}, and lies between 0 and 1.")
    if p is None and decisions is None:
        raise UsageError(f"Table '{path}' has no probabilities, and a threshold is for these.")
    decided_only = p is None
    if p is None:
        assert decisions is not None
        p = np.eye(len(classes))[decisions]
        draft.notes.append("There are no probabilities: only scores of decisions are computed.")
    elif decisions is None:
        decisions = decide(p, cuts)
        draft.taken.pop("decision", None)
    elif many := int((decisions != decide(p, cuts)).sum()):
        draft.notes.append(
            f"Decisions are those of '{draft.taken['decision']}'; {many:,} are not what the probabilities say at "
            f"{'the largest' if len(classes) > 2 else 'the threshold'}."
        )
    if "cut" in draft.taken and cut is not None:
        del draft.taken["cut"]
    samples, groups = _samples(draft), _groups(draft)
    used = {name for column in draft.taken.values() for name in column.split(", ")}
    predictions = Predictions(
        samples,
        _or(draft.get("fold"), "all", len(draft)),
        np.full(len(draft), "test"),
        _or(draft.get("patient"), "", len(draft)),
        _or(draft.get("lesion"), "", len(draft)),
        Outcome(classes, labels, p, decisions, groups),
        cuts,
        {name: texts for name, texts in draft.table.of.items() if name not in used},
        _or(draft.get("repeat"), "", len(draft)),
        decided_only,
    )
    for number, name in enumerate(classes):
        if not (labels == number).any():
            draft.notes.append(f"No row has the truth '{name}': scores that need it are undefined.")
    if len(classes) == 2:
        draft.notes.append(f"Positive is '{classes[1]}', negative '{classes[0]}'; --positive says otherwise.")
    if (folds := len({*predictions.folds.tolist()})) > 1:
        draft.notes.append(
            f"Scores are means over the {folds} folds in '{draft.taken['fold']}', with the pooled value beside; "
            "--columns fold=none takes all rows as one."
        )
    return PredictionTable(path, predictions, draft.taken, tuple(draft.notes))


def _or(texts: Texts | None, otherwise: str, n: int) -> Texts:
    return np.full(n, otherwise) if texts is None else texts


def _join(draft: Draft, truth: Path, asked: Mapping[str, str]) -> None:
    """Put truth and further columns of the other table beside the predictions; notes count and name what does not join."""
    other = Draft.of(truth)
    recognise(other, {role: column for role, column in asked.items() if column in other.table.of})
    for one in (draft, other):
        if "id" not in one.taken:
            raise one.lacks("id", "Tables are joined by it: --columns id=COLUMN")
    if "truth" not in other.taken:
        raise other.lacks("truth", "Name it: --columns truth=COLUMN")
    names = [one.table.of[one.taken["id"]] for one in (draft, other)]
    keys = [texts.tolist() for texts in names]
    loose = [[loosely(key) for key in own] for own in keys]
    if len({*keys[0]} & {*keys[1]}) < len({*loose[0]} & {*loose[1]}) and len({*loose[1]}) == len(keys[1]):
        keys = loose
        draft.notes.append("Ids are joined without folders, suffixes of files and capitals.")
    if (twice := _repeated(keys[1])).any():
        raise other.refusal(twice, f"the id '{names[1][twice][0]}' stands in the table twice.")
    places = {key: place for place, key in enumerate(keys[1])}
    place = np.array([places.get(key, -1) for key in keys[0]], np.intp)
    if (place < 0).all():
        raise UsageError(
            f"No id of '{draft.table.path}' stands in '{truth}': '{names[0][0]}' there, '{names[1][0]}' here. Name the columns: "
            "--columns id=COLUMN."
        )
    for lost, what in (
        (names[0][place < 0], "Predictions without a truth"),
        (np.delete(names[1], place[place >= 0]), "Truths without a prediction"),
    ):
        if len(lost):
            draft.notes.append(f"{what}, left out: {len(lost):,} ({', '.join(lost[:5])}{', …' * (len(lost) > 5)}).")
    draft.keep(place >= 0)
    other.keep(place[place >= 0])
    new = {f"{name} (truth)" if name in draft.table.of else name: name for name in other.table.of}
    back = {old: name for name, old in new.items()}
    draft.table = Columns(
        draft.table.path, draft.table.lines, draft.table.of | {name: other.table.of[old] for name, old in new.items()}
    )
    draft.taken |= {role: back[old] for role, old in other.taken.items() if role not in ("id", *draft.taken)}
    if other.taken["id"] != draft.taken["id"]:
        del draft.table.of[back[other.taken["id"]]]


def loosely(name: str) -> str:
    """`images/A_01.png` as `a_01`, 12.0 as 12."""
    return re.sub(r"\.(0+|png|jpe?g|tiff?|bmp|pgm|dcm|dicom|npy)$", "", re.split(r"[/\\]", name.lower())[-1])


def _repeated(keys: Sequence[object]) -> npt.NDArray[np.bool_]:
    """(N,) whether a key stands in an earlier row already."""
    first: dict[object, int] = {}
    return np.array([first.setdefault(key, place) != place for place, key in enumerate(keys)])


def _test_part(draft: Draft) -> None:
    """Keep the rows of the test part, if a column names the parts and some are of it."""
    if (texts := draft.get("part")) is not None:
        test = np.array([part_of(text) == "test" for text in texts.tolist()])
        if test.any() and not test.all():
            draft.notes.append(
                f"Rows of other parts than test in '{draft.taken['part']}', left out: {(~test).sum():,}."
            )
            draft.keep(test)
        elif not test.any():
            parts = ", ".join(sorted(set(texts.tolist()))[:5])
            draft.notes.append(
                f"No row of '{draft.taken['part']}' is of the test part: all are scored, those of {parts}."
            )


def _samples(draft: Draft) -> Texts:
    """(N,) ids; UsageError if one stands there twice."""
    if (ids := draft.get("id")) is None:
        draft.notes.append("No column is known to be the id of an image; lines of the file stand in for it.")
        return np.char.add("line ", draft.table.lines.astype(str))
    repeats = draft.get("repeat")
    keys = ids.tolist() if repeats is None else [*zip(ids.tolist(), repeats.tolist(), strict=True)]
    if (twice := _repeated(keys)).any():
        first = keys.index(keys[int(np.argmax(twice))])
        raise draft.refusal(
            twice, f"the id '{ids[twice][0]}' stands on line {draft.table.lines[first]} already. Is '{draft.taken['id']}' the id "
            "of an image? Name it: --columns id=COLUMN, or id=none.",
        )  # fmt: skip
    return ids


def _groups(draft: Draft) -> npt.NDArray[np.intp]:
    """(N,) numbers of independent groups: by group, else by patient; a row without one is a group of its own."""
    column = draft.taken.get("group") or draft.taken.get("patient")
    if column is None:
        draft.notes.append(
            "No column is known to be the patient, so each row counts as independent. If patients have several images, the "
            "intervals are too narrow: --columns patient=COLUMN."
        )
        return np.arange(len(draft), dtype=np.intp)
    numbers: dict[object, int] = {}
    texts = draft.table.of[column].tolist()
    if empty := texts.count(""):
        draft.notes.append(f"{empty:,} rows have an empty '{column}', and each counts as a group of its own.")
    groups = [numbers.setdefault(text or place, len(numbers)) for place, text in enumerate(texts)]
    return np.array(groups, np.intp)
