"""Which column of a table of predictions holds what, by its name and by its values.

Names are compared without capitals, spaces and underscores. What a name leaves open, the values decide: `prediction` with 0.73 in
it is a probability.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.errors import UsageError, nearest
from mammozoo.evaluation.class_names import match, word
from mammozoo.tables import Columns, read_columns

Texts = npt.NDArray[np.str_]
Values = npt.NDArray[np.float64]
#: Role → usual names of its column, the surest first.
ROLES = {
    role: names.split()
    for role, names in {
        "id": "imageid imageuid sopinstanceuid image img imgid imagename imgname imagefile imagefilename filename file fileid "
        "filepath imagepath imgpath path sample sampleid samplename name uid id studyid examid accessionnumber accession key "
        "index idx",
        "patient": "patientid patient patientno patientnumber patientnr patientuid patientcode patid ptid subjectid subject pid "
        "participantid participant personid womanid woman caseid case caseno casenumber",
        "group": "groupid group cluster clusterid",
        "lesion": "lesionid lesion",
        "fold": "fold foldid cvfold kfold outerfold foldno",
        "repeat": "repeat repetition",
        "part": "part split partition subset set",
        "cut": "threshold cutoff cut",
        "truth": "groundtruth truth gt truelabel labeltrue truthlabel gtlabel labelgt ytrue ytest trueclass truthclass true "
        "actual actuallabel actualclass goldstandard gold referencestandard reference referencelabel target targetlabel label "
        "labels class classlabel classname labelname diagnosis finaldiagnosis truediagnosis pathology histology histopathology "
        "outcome category type y ismalignant iscancer malignancy cancer malignant",
        "decision": "decision predictedlabel predlabel labelpred predictionlabel predictedclass predclass classpred "
        "predidx prediction predictions predicted pred ypred yhat argmax modeldecision modelprediction aidecision aiprediction "
        "hardlabel hardprediction binarypred outputlabel predicteddiagnosis call",
        "score": "score prob probability proba p yprob yproba yscore ypredprob ypredproba predprob predproba predscore "
        "predictedprobability predictedprob positiveprobability malignancyscore malignancyprobability probabilityofmalignancy "
        "meanprob modelscore aiscore riskscore risk output modeloutput prediction predictions predicted pred ypred",
        "logit": "logit logits rawlogit",
        "confidence": "confidence conf predconfidence predictionconfidence maxprob topprob",
    }.items()
}
NONE = "none"  #: in place of a column: there is none
#: Role → column in the tables that mammozoo writes itself; what follows these columns is `p_CLASS` and `meta_COLUMN`.
_OWN = {
    "id": "sample", "group": "group", "patient": "patient", "lesion": "lesion", "fold": "fold", "part": "part",
    "truth": "label", "decision": "decision", "cut": "threshold",
}  # fmt: skip
_PARTS = {"train": "train training", "val": "val valid validation dev inner-test", "test": "test testing"}
_PREFIX = r"(?:pred_|y_)?(?:prob|probs|proba|probability|probabilities|p|pr|softmax){}_?(?:of_|class_)?(?P<name>.+)"
_FORMS = {
    "prob": (
        _PREFIX.format("_"), r"(?:prob|p)(?P<name>\d+)", r"(?P<name>.+)_(?:prob|probs|proba|probability|p|softmax)",
    ),
    "logit": (r"logits?_(?:of_|class_)?(?P<name>.+)", r"logit(?P<name>\d+)", r"(?P<name>.+)_logits?", r"logits?(?P<name>.{3,})"),
    "weak": (
        r"(?:y_|pred_)?(?:score|scores|conf|confidence|pred|prediction|output|class|risk)_?(?:of_|class_)?(?P<name>.+)",
        r"(?:prob|proba|probability|p)(?:of)?(?P<name>.+)",
        r"(?P<name>.+?)_?(?:score|confidence|conf|pred|prediction|output|prob|probability|proba)", r"(?P<name>.+)",
    ),
}  # fmt: skip


@dataclass
class Draft:
    """A table on its way: its columns, role → column for those that were recognised, and what there is to say.

    `own` are the columns of probabilities, by class and with the positive one last, of a table that mammozoo wrote.
    """

    table: Columns
    taken: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(path: Path) -> Draft:
        """The table in a file; UsageError if it has no rows."""
        table = read_columns(path)
        if not len(table.lines):
            raise UsageError(f"Table '{path}' has no rows, so there is nothing to score.")
        if [*table.of][: len(_OWN)] != [*_OWN.values()]:
            return Draft(table)
        taken = {role: name for role, name in _OWN.items() if (table.of[name] != "").any()}
        taken |= {"repeat": "repeat"} if "repeat" in table.of else {}
        of = {
            (own if (own := name.removeprefix("meta_")) not in table.of else name): texts
            for name, texts in table.of.items()
        }
        columns = [name for name in table.of if name.startswith("p_")]
        for name in {*_OWN.values()} - {*taken.values()}:
            del of[name]
        return Draft(Columns(path, table.lines, of), taken, own={word(name[2:]): name for name in columns})

    def __len__(self) -> int:
        return len(self.table.lines)

    def get(self, role: str) -> Texts | None:
        """The (N,) texts of the column in this role, None if there is none."""
        return self.table.of[self.taken[role]] if role in self.taken else None

    def column(self, name: str) -> Texts:
        """The (N,) texts of a column, by its name or its role; UsageError if there is none."""
        known = {role: self.table.of[column] for role, column in self.taken.items()} | self.table.of
        if (own := name.lower()) not in known:
            raise self.missing(name, known)
        return known[own]

    def missing(self, name: str, known: Iterable[str]) -> UsageError:
        """The refusal of a column that the table does not have."""
        close = nearest(name, known)
        return UsageError(
            f"Table '{self.table.path}' has no column '{name}'.{close} Columns: {', '.join(known)[:300]}."
        )

    def refusal(self, rows: npt.NDArray[np.bool_], problem: str) -> UsageError:
        """The refusal of these rows."""
        return UsageError(f"Table '{self.table.path}', {self.table.where(rows)}: {problem}")

    def lacks(self, what: str, advice: str) -> UsageError:
        """The refusal for want of a column."""
        known = ", ".join(self.table.of)[:300]
        return UsageError(
            f"Table '{self.table.path}' has no column that is known to hold the {what}. {advice}. Columns: {known}."
        )

    def keep(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> None:
        """Keep these rows only."""
        of = {name: texts[index] for name, texts in self.table.of.items()}
        self.table = Columns(self.table.path, self.table.lines[index], of)

    def numbers(self, name: str) -> Values:
        """(N,) finite numbers of a column: also with decimal commas, or per cent.

        Raises:
            UsageError: a cell is empty, or no number.
        """
        texts = self.table.of[name]
        try:
            found = texts.astype(np.float64)
        except ValueError:
            found = np.array([np.nan if (n := number(text)) is None else n for text in texts.tolist()])
            found = found / 100 if np.char.endswith(texts, "%").all() else found
        if (wrong := ~np.isfinite(found)).any():
            text = str(texts[wrong][0])
            what = "is empty" if not text else f"is {'the formula ' if text[0] == '=' else ''}'{text[:40]}'"
            raise self.refusal(wrong, f"'{name}' {what}: not a number. Fill it in, or remove the row.")
        return found


def number(text: str) -> float | None:
    """A number as people write it; None for another text."""
    try:
        return float(text.replace(",", ".").rstrip("%"))
    except ValueError:
        return None


def part_of(text: str) -> str | None:
    """`train`, `val` or `test`; None for another word."""
    return next((part for part, names in _PARTS.items() if text.lower() in names.split()), None)


def read_asked(columns: Iterable[str]) -> dict[str, str]:
    """Role → column of texts `ROLE=COLUMN`, several separated by commas; UsageError for another text."""
    asked = {}
    for pair in (part.strip() for text in columns for part in text.split(",")):
        role, _, column = (part.strip().lower() for part in pair.partition("="))
        role = re.sub(r"^(prob|logit)[\s:_-]+", r"\1_", role)
        if not column or not (role in ROLES or re.match(r"(prob|logit)_.", role)):
            known = ", ".join((*ROLES, "prob_CLASS", "logit_CLASS"))
            raise UsageError(f"--columns takes ROLE=COLUMN, not '{pair}'. Roles: {known}.")
        asked[role] = column
    return asked


def recognise(draft: Draft, asked: Mapping[str, str], *, joined: bool = False) -> None:
    """Give each role its column. If truth is `joined` from another table, `label` is what the model says.

    Raises:
        UsageError: a column that was asked for is not there.
    """
    of, keys = draft.table.of, dict[str, str]()
    for role, column in asked.items():
        if column not in (*of, NONE):
            raise draft.missing(column, of)
        if column != NONE:
            draft.taken[role] = column
        else:
            draft.taken.pop(role, None)
    if draft.own:
        if joined:
            draft.taken.pop("truth")
        return
    for name in of:
        keys.setdefault(re.sub(r"[\W_]+", "", name), name)
    for role, names in ROLES.items():
        if role in asked or (joined and role == "truth"):
            continue
        for name in [*names, "label", "class"] if joined and role == "decision" else names:
            if (own := keys.get(name)) is not None and own not in draft.taken.values() and _fits(role, of[own]):
                draft.taken[role] = own
                break
    if "patient" in draft.taken and "id" not in {*draft.taken, *asked}:
        patients = of[draft.taken["patient"]]  # a row for each patient
        if len({*patients.tolist()}) == len(patients):
            draft.taken["id"] = draft.taken["patient"]


def _fits(role: str, texts: Texts) -> bool:
    """Whether the values are such as this role has, since a name alone may mislead."""
    some = {*(texts if role in ("part", "repeat") else texts[:2000]).tolist()}
    numbers = [n for text in some if (n := number(text)) is not None and np.isfinite(n)]
    numeric = 2 * len(numbers) > len(some - {""})  # a bad cell among numbers is worth a message
    fractions = numeric and any(n != int(n) for n in numbers)
    match role:
        case "truth" | "decision":
            return not fractions and (any(some) or role == "truth")
        case "score" | "logit" | "confidence":
            return fractions or (numeric and any(n not in (0, 1) for n in numbers))
        case "cut":
            return numeric and all(0 <= n <= 1 for n in numbers)
        case "part":
            return all(map(part_of, some))
        case "repeat":
            return all(re.fullmatch("[0-9]{1,9}", text) for text in some)
    return any(some)


def class_columns(draft: Draft, kind: str, truths: Iterable[str]) -> dict[str, str]:
    """Class → column of its probabilities (`prob`) or logits (`logit`); a weak name counts only if the truth has this class."""
    if own := {
        role.removeprefix(f"{kind}_"): name for role, name in draft.taken.items() if role.startswith(f"{kind}_")
    }:
        return {word(name): column for name, column in own.items()}
    if draft.own and kind == "prob":
        return draft.own
    others = {draft.taken[role] for role in draft.taken if role not in ("score", "logit")}
    free = {re.sub(r"[\W_]+", "_", name).strip("_"): name for name in draft.table.of if name not in others}
    free = {key: name for key, name in free.items() if key not in ("p_id", "p_value")}

    def named(forms: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, column in free.items():
            if (hit := next(filter(None, (re.fullmatch(form, key) for form in forms)), None)) is not None:
                found.setdefault(word(hit["name"]), column)
        return found

    def numbers(name: str, *, weak: bool = False) -> float:
        """The share of numbers, or of what should be one, among the first cells; behind a weak name of probabilities."""
        some = draft.table.of[name][:200].tolist()
        found = [0.0 if text[:1] in ("=", "") else number(text) for text in some]
        return sum(n is not None and (not weak or 0 <= n <= 1) for n in found) / len(some)

    found = {name: column for name, column in named(_FORMS[kind]).items() if numbers(column) > 0}
    if found or kind == "logit":
        return found
    logits, truths = {*named(_FORMS["logit"]).values()}, [*truths]
    weak = {name: column for name, column in named(_FORMS["weak"]).items() if column not in logits}
    weak = {name: column for name, column in weak.items() if numbers(column, weak=True) > 0.5}
    hits = {name for name in match(truths, [*weak]).values() if name is not None}
    return {name: column for name, column in weak.items() if name in hits}
