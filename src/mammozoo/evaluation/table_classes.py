"""The classes of a table of predictions: what its truth, its probabilities and its decisions call them, brought together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from mammozoo.errors import UsageError
from mammozoo.evaluation.class_names import match, positive_last, sign, word
from mammozoo.evaluation.table_roles import Draft, Values, class_columns, number

MOST = 100  #: classes; a column with more values holds no classes
_OFF = 0.01  # by which a row of probabilities may miss 1: they may be rounded to two digits
_NOT = "not {}"


def truths_of(draft: Draft) -> list[str]:
    """The class of each row, as `word` writes it; rows without one are left out."""
    name = draft.taken["truth"]
    known = np.char.lower(draft.table.of[name])
    empty = np.isin(known, ["", "nan", "na", "n/a", "none", "null", "unknown", "?"])
    if empty.all():
        raise UsageError(f"Table '{draft.table.path}': no row has a truth in '{name}'.")
    if empty.any():
        draft.notes.append(f"Left out, since '{name}' is empty or unknown: {draft.table.where(empty)}.")
        draft.keep(~empty)
    texts = draft.table.of[name].tolist()
    words = {text: word(text) for text in {*texts}}
    if (many := len({*words.values()})) > MOST:
        raise UsageError(
            f"Table '{draft.table.path}': '{name}' has {many:,} values, so it holds no classes ({MOST} at most). Name the "
            "truth: --columns truth=COLUMN."
        )
    return [words[text] for text in texts]


def probabilities_of(
    draft: Draft, truths: list[str], asked: Mapping[str, str]
) -> tuple[tuple[str, ...], Values | None, dict[str, str]]:
    """Classes, (N, K) probabilities or None, and truth → class."""
    for role in {"score", "logit"} & asked.keys() & draft.taken.keys():
        return _of_one(draft, "", asked[role], truths, logit=role == "logit")
    for kind in ("prob", "logit"):
        if len(of := _classes_of(draft, kind, truths)) > 1:
            return _of_each(draft, of, truths, logits=kind == "logit")
        if of:
            ((name, column),) = of.items()
            return _of_one(draft, name, column, truths, logit=kind == "logit")
        if column := draft.taken.get("score" if kind == "prob" else "logit", ""):
            return _of_one(draft, "", column, truths, logit=kind == "logit")
    if "decision" not in draft.taken:
        advice = (
            "score=COLUMN (the probability of the positive class), prob_CLASS=COLUMN, logit=COLUMN or decision=COLUMN"
        )
        raise draft.lacks("predictions", f"Name them: --columns {advice}")
    every = [word(text) for text in draft.table.of[draft.taken["decision"]].tolist()]
    decided = [*dict.fromkeys(every)]
    meant = match(decided, truths)
    classes = positive_last([*dict.fromkeys([*truths, *(meant[name] or name for name in decided)])])
    if len(classes) < 2:
        raise UsageError(
            f"Table '{draft.table.path}': all is '{classes[0]}', truth and decisions. Scores need two classes."
        )
    names = {name: name for name in truths}
    if len(classes) > 2 or "confidence" not in draft.taken:
        return classes, None, names
    draft.taken["probability of the decision"] = column = draft.taken["confidence"]
    sure = draft.numbers(column)
    _refuse_no_probability(draft, sure[:, None], [column])
    positive = np.where([(meant[name] or name) == classes[1] for name in every], sure, 1 - sure)
    return classes, np.stack([1 - positive, positive], axis=1), names


def _classes_of(draft: Draft, kind: str, truths: list[str]) -> dict[str, str]:
    """Class → column, without such as `prob_sd`: what means no class of the truth and is not needed for a sum of 1."""
    of = class_columns(draft, kind, truths)
    if len(of) > MOST:
        raise UsageError(
            f"Table '{draft.table.path}' has {len(of):,} columns such as '{next(iter(of.values()))}', and classes are {MOST} at "
            "most. Keep those of the classes in question, or name one: --columns score=COLUMN."
        )
    meant = {name for name in _meant(truths, [*of]).values() if name is not None}
    if kind == "logit" or len(meant) == len(of) or not of:
        return of
    columns = [[number(text) for text in draft.table.of[column].tolist()] for column in of.values()]
    sums = np.array(columns, np.float64).sum(axis=0)  # None is NaN
    if len(of) > 1 and np.isclose(sums, 1, atol=_OFF).mean() + np.isclose(sums, 100, atol=100 * _OFF).mean() > 0.5:
        return of
    return {name: of[name] for name in of if name in meant} or ({} if "score" in draft.taken else of)


def _of_each(
    draft: Draft, of: dict[str, str], truths: list[str], *, logits: bool
) -> tuple[tuple[str, ...], Values, dict[str, str]]:
    """From a column for each class."""
    names, said = _meant(truths, [*of]), [*of]
    values = np.stack([draft.numbers(column) for column in of.values()], axis=1)
    if logits:
        p = softmax(values, axis=1)
    else:
        if (values > 1).any() and (np.abs(values.sum(axis=1) - 100) < 100 * _OFF).all():
            draft.notes.append("Probabilities are per cent.")
            values = values / 100
        _refuse_no_probability(draft, values, [*of.values()])
        sums = values.sum(axis=1)
        if (off := np.abs(sums - 1) > _OFF).any():
            raise draft.refusal(
                off, f"the probabilities {', '.join(of.values())} sum to {sums[off][0]:.4g}, not to 1. If each class was judged "
                f"by itself, take one: --columns score={[*of.values()][-1]}.",
            )  # fmt: skip
        p = values
    if unknown := [name for name in truths if names.get(name) is None]:
        texts = np.array([word(text) for text in draft.table.of[draft.taken["truth"]].tolist()])
        raise draft.refusal(
            np.isin(texts, unknown), f"the truth is '{unknown[0]}', and the probabilities are of {', '.join(said)}. Leave it out: "
            f"--where \"truth!={unknown[0]}\"; or name its column: --columns prob_{unknown[0].replace(' ', '_')}=COLUMN.",
        )  # fmt: skip
    longer = {name: truth for truth, name in names.items() if name and truth.startswith(name)}  # `mal` is `malignant`
    of = {longer.get(name, name): column for name, column in of.items()}
    names = {truth: longer.get(name or "", name) for truth, name in names.items()}
    if renamed := [f"'{truth}' is {name}" for truth, name in names.items() if name != truth]:
        draft.notes.append(f"Of the truth {', '.join(renamed)}.")
    classes = tuple(of) if of == draft.own else positive_last([*of])
    draft.taken["logits" if logits else "probabilities"] = ", ".join(of.values())
    return classes, p[:, [[*of].index(name) for name in classes]], {k: v for k, v in names.items() if v is not None}


def _meant(truths: list[str], classes: list[str]) -> dict[str, str | None]:
    """Truth → class; numbers count the classes in the order of their columns if they mean nothing else."""
    names = match(truths, classes)
    if None in names.values() and all(name.isdecimal() for name in truths):
        first = 0 if "0" in truths or max(map(int, truths)) < len(classes) else 1
        if max(map(int, truths)) - first < len(classes):
            return {name: classes[int(name) - first] for name in truths}
    return names


def _of_one(
    draft: Draft, name: str, column: str, truths: list[str], *, logit: bool
) -> tuple[tuple[str, ...], Values, dict[str, str]]:
    """From a column of one class: the one of this name, else the positive one."""
    own = next((truth for truth, hit in match(truths, [name]).items() if hit), None) if name else None
    if own is None and len(truths) > 2:
        own = truths[positive[0]] if len(positive := [i for i, t in enumerate(truths) if sign(t) > 0]) == 1 else None
    if own is None and len(truths) == 1:
        if not name and sign(truths[0]) == 0:
            raise UsageError(
                f"Table '{draft.table.path}': every truth is '{truths[0]}', and '{column}' does not say of which class it is. Name "
                f"it: --columns prob_CLASS={column}."
            )
        own = truths[0] if sign(truths[0]) > 0 else None
    if len(truths) == 2:
        classes = positive_last(truths)
        own = own or classes[1]
        names = {truth: truth for truth in truths}
    elif len(truths) == 1:
        positive_name = name or own or "positive"
        classes = (truths[0], positive_name) if own is None else (_NOT.format(positive_name), positive_name)
        names = {truths[0]: classes[1] if own is not None else classes[0]}
        own = positive_name
    elif own is None:
        raise UsageError(
            f"Table '{draft.table.path}': the truth has {len(truths)} classes ({', '.join(sorted(truths))[:200]}), and "
            f"'{column}' is one probability. Say of which class: --columns prob_CLASS={column}."
        )
    else:
        classes = (_NOT.format(own), own)
        names = {truth: classes[truth == own] for truth in truths}
        draft.notes.append(f"'{column}' is one probability: '{own}' is scored against all others.")
    values = draft.numbers(column)
    if logit:
        values = expit(values)
    elif (values > 1).any() and values.min() >= 0 and values.max() <= 100 and (values > 1).mean() > 0.5:
        draft.notes.append(f"'{column}' is per cent.")
        values = values / 100
    else:
        _refuse_no_probability(draft, values[:, None], [column])
    draft.taken[f"{'logit' if logit else 'probability'} of {own}"] = column
    p = np.stack([1 - values, values], axis=1)
    return classes, p if own == classes[1] else p[:, ::-1], names


def _refuse_no_probability(draft: Draft, values: Values, columns: Sequence[str]) -> None:
    if (wrong := (values < 0) | (values > 1)).any():
        row = np.asarray(wrong.any(axis=1), bool)
        place = int(np.argmax(wrong[row][0]))
        raise draft.refusal(
            row, f"'{columns[place]}' is {values[row][0, place]:.6g}, which is no probability. If these are logits, say --columns "
            f"logit{'' if len(columns) == 1 else '_CLASS'}={columns[place]}.",
        )  # fmt: skip


def decisions_of(draft: Draft, classes: tuple[str, ...]) -> npt.NDArray[np.intp] | None:
    """(N,) the classes that the table says were decided for, if it does."""
    if (texts := draft.get("decision")) is None:
        return None
    words = {text: word(text) for text in {*texts.tolist()}}
    decided = [words[text] for text in texts.tolist()]
    names = _meant([*dict.fromkeys(decided)], [*classes])
    if unknown := [name for name, hit in names.items() if hit is None]:
        raise draft.refusal(
            np.isin(np.array(decided, str), unknown),
            f"'{draft.taken['decision']}' is '{unknown[0]}', and the classes are {', '.join(classes)}.",
        )
    return numbered(decided, names, classes)


def numbered(words: list[str], names: Mapping[str, str | None], classes: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """(N,) class numbers of words that mean these classes."""
    number = {name: classes.index(hit) for name, hit in names.items() if hit is not None}
    return np.array([number[name] for name in words], np.intp)
