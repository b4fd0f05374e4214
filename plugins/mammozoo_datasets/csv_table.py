"""Your own images in a table: one row an image, paths relative to the table.

    path,label,patient,mask
    images/001.png,benign,P01,masks/001.png
    images/002.dcm,malignant,P02,masks/002a.png;masks/002b.png

`path` (`FILE#frame` for one of several DICOM frames) and `label` are needed; `patient` (or `patient_id`, `PatientID`, `subject`,
`case_id` …), `lesion`, `mask` (several, separated by `;`) and a box in pixels (`left`, `top`, `right`, `bottom`) are known; every
other column goes into `Sample.meta`, where `part` (train, val, test) or `fold` is an official split.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from mammozoo.data.dataset import Dataset, DatasetInfo, Modality, Sample
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.tables import Row, read_rows
from mammozoo.text import known, same

_NEEDED = ("path", "label")
_UNLABELLED = "unlabelled"
_BOX = ("left", "top", "right", "bottom")
_KNOWN = {*_NEEDED, "lesion", "mask", *_BOX}
_ID = r"(?:s?(?:id|ids|no|nr|num|number|nummer|code|key|uid|name|identifier|pseudonym))"
# Columns that name the patient, without spaces and signs; the first that any column matches counts.
_PATIENT = [
    re.compile(rf"(?:id)?(?:patients?|patienten|pacientes?){_ID}?|pid|patid|ptid|mrn"),
    re.compile(rf"(?:id)?(?:subject|person|participant|individual|case|woman){_ID}?|subjid"),
]
_FACT = re.compile(  # what other columns say of a patient
    r".*(?:age|sex|gender|birth|dob|weight|height|race|ethnic|history|density|orientation|position|status|count|outcome|sons?|type).*"
)


class Csv(Dataset):
    """Images listed in a table: CSV, TSV or a workbook (.xlsx).

    Spellings of a label that differ in case or Unicode form are one class; `notes` names them and the column of patients.

    Where the column `label` is empty in all rows, there are images without labels, to be checked and predicted.

    Args:
        root: the table itself.
        path: the column of the images, where it has another name; so for the others.
        label: the column of the labels.
        patient: the column of the patients; by default the one whose name says so.
        lesion: the column of the lesions.
        mask: the column of the masks.
        modality: what the images are; a model trained on them then answers for no others.

    Raises:
        UsageError: the root is not a file.
    """

    info = DatasetInfo(
        name="csv",
        title="Your images, listed in a CSV table",
        modality="any",
        classes=(),
        license="yours",
    )

    def __init__(
        self,
        root: Path | None = None,
        path: str = "path",
        label: str = "label",
        patient: str | None = None,
        lesion: str = "lesion",
        mask: str = "mask",
        modality: Modality = "any",
    ) -> None:
        super().__init__(root)
        self.info = replace(self.info, modality=modality)
        named = {"path": path, "label": label, "patient": patient or "patient", "lesion": lesion, "mask": mask}
        self._columns = {ours: unicodedata.normalize("NFC", theirs.strip()).lower() for ours, theirs in named.items()}
        self._patient = patient and "patient"
        if root is None or not root.is_file():
            raise UsageError(f"Data set 'csv' needs the table itself as --root; '{root}' is a folder.")

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in the table, sorted; the second of two is the positive class. Raises as `samples`."""
        return tuple(sorted({sample.label for _, sample in self._table}))

    def samples(self) -> list[Sample]:
        """Every row, in the order of the table.

        Raises:
            UsageError: a column or a label is missing, a path is listed twice, a box makes no sense; with
                the line.
            NotFoundError: some of the files do not exist.
        """
        missing = [
            f"'{name}' (line {line})"
            for line, sample in self._table
            for name in (sample.image, *sample.masks)
            if not os.path.isfile(self.path(name))  # noqa: PTH113 - False where Path raises
        ]
        self.notes = list(self._remarks)
        if missing:
            assert self.root is not None
            name = missing[0].partition("'")[2].rpartition("'")[0]
            near = (Path.cwd(), *self.root.absolute().parents[1:4])
            folder = next((folder for folder in near if os.path.isfile(folder / name)), None)  # noqa: PTH113
            right = f" They are right from '{folder}': put the table there." if folder else ""
            raise NotFoundError(
                f"Table '{self.root}' lists {len(missing)} files that do not exist: {', '.join(missing[:5])}"
                f"{' …' if len(missing) > 5 else ''}. Paths are relative to the table's folder.{right}"
            )
        return [sample for _, sample in self._table]

    @cached_property
    def _table(self) -> list[tuple[int, Sample]]:
        """(line, sample) of each row."""
        assert self.root is not None
        rows = self._renamed(read_rows(self.root, self._needed(), exact=True))
        column = self._patient or _patient_column(self.root, [row for _, row in rows])
        unlabelled = bool(rows) and not any(row["label"] for _, row in rows)
        for _, row in rows if unlabelled else ():
            row["label"] = _UNLABELLED
        spelled, merged = _spellings([row["label"] for _, row in rows])
        table: list[tuple[int, Sample]] = []
        lines: dict[str, int] = {}
        files: dict[tuple[int, int, str], tuple[int, Sample]] = {}
        for line, row in rows:
            row["path"], row["label"] = self._on_disk(row["path"]), spelled.get(row["label"], row["label"])
            sample = _sample(row, column, f"Table '{self.root}', line {line}")
            if (first := lines.setdefault(sample.image, line)) != line:
                raise UsageError(
                    f"Table '{self.root}' lists '{sample.image}' twice, in lines {first} and {line}. Remove one."
                )
            file = self.path(sample.image)
            if os.path.isfile(file):  # noqa: PTH113 - False where Path raises
                facts = file.stat()
                frame = "" if sample.image.endswith(file.name) else sample.image.rpartition("#")[2]
                first, other = files.setdefault((facts.st_dev, facts.st_ino, frame), (line, sample))
                if other.label != sample.label:
                    one = f"'{other.image}' (line {first}, {other.label}) and '{sample.image}' (line {line}, {sample.label})"
                    raise UsageError(f"Table '{self.root}': {one} are one file. Remove one.")
            table.append((line, sample))
        if len({sample.label for _, sample in table}) < 2 and not unlabelled:
            raise UsageError(f"Table '{self.root}' has fewer than two different labels in {len(table)} rows.")
        patients = Counter(sample.patient for _, sample in table)
        nameless = patients.pop(None, 0)
        named = f"column '{column}' names {len(patients)} patients" if column else "no column names the patient"
        bare = ["The column of labels is empty: nothing can be trained on these images."] if unlabelled else []
        self._remarks = [
            *bare,
            f"{len(table)} rows; {named}{f', {nameless} rows name none' if column and nameless else ''}.",
            *merged,
        ]
        return table

    def _needed(self) -> list[str]:
        """The columns that the table must have: path and label, and those that an option names."""
        return [
            theirs
            for ours, theirs in self._columns.items()
            if ours in _NEEDED or theirs != ours or self._patient == ours
        ]

    def _renamed(self, rows: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
        """Rows whose columns have our names; another column of such a name makes way."""
        back = {theirs: ours for ours, theirs in self._columns.items() if theirs != ours}
        taken = set(back.values())
        return [
            (line, {back.get(c, c): cell for c, cell in row.items() if c in back or c not in taken})
            for line, row in rows
        ]

    def _on_disk(self, name: str) -> str:
        """The path as the disk spells it: with forward slashes, without `.`, and its Unicode form may be another."""
        assert self.root is not None
        here, plain = self.root.parent, name.replace("\\", "/")  # a table written on Windows can be read everywhere
        parts = PurePosixPath(os.path.normpath(plain) if plain else "").parts
        found: list[str] = []
        for part in parts:
            forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
            found.append(next((form for form in forms if os.path.lexists(here.joinpath(*found, form))), part))
        return "/".join(found).replace("//", "/")


def _patient_column(table: Path, rows: Sequence[Row]) -> str | None:
    """The column that names the patient; UsageError if two that do so disagree, or one might."""
    columns = {column: re.sub(r"[\W_]", "", column) for column in (rows[0] if rows else {}) if column not in _KNOWN}
    found = next((names for p in _PATIENT if (names := [c for c, plain in columns.items() if p.fullmatch(plain)])), [])
    found = [column for column in found if any(known(row[column]) for row in rows)] or found[:1]
    found.sort(key=lambda column: column != "patient")
    pairs = {tuple(known(row[column]) for column in found) for row in rows}
    if any(len({pair[place] for pair in pairs}) < len(pairs) for place in range(len(found))):
        listed = " and ".join(f"'{column}'" for column in found)
        raise UsageError(
            f"Table '{table}': {listed} may name the patient, and they disagree. Keep one, or rename the others."
        )
    doubtful = [
        c for c, plain in columns.items() if re.search("(?<!in)(?<!out)patient", plain) and not _FACT.fullmatch(plain)
    ]
    if not found and doubtful:
        raise UsageError(
            f"Table '{table}': does '{doubtful[0]}' name the patient? Call that column 'patient', or leave the word out of it. "
            "Images of one patient in the training and the test part make scores too good."
        )
    return found[0] if found else None


def _spellings(labels: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Label → its most frequent spelling, and a remark on each label that is spelled in several ways."""
    counts = Counter(label for label in labels if label)
    by_word: dict[str, list[str]] = {}
    for label, _ in counts.most_common():
        by_word.setdefault(same(label), []).append(label)
    remarks = [
        f"The label '{first}' is also spelled {', '.join(map(repr, others))}: one class."
        for first, *others in by_word.values()
        if others
    ]
    return {label: spellings[0] for spellings in by_word.values() for label in spellings}, remarks


def _sample(row: Row, patient: str | None, where: str) -> Sample:
    for column in _NEEDED:
        if not row[column]:
            raise UsageError(f"{where}: the {column} is empty. Fill it in or remove the row.")
    masks = [name.strip() for name in row.get("mask", "").split(";")]
    return Sample(
        image=row["path"],
        label=row["label"],
        patient=row[patient] if patient else None,
        lesion=row.get("lesion"),
        masks=tuple(name.replace("\\", "/") for name in masks if name),
        box=_box(row, where),
        meta={column: cell for column, cell in row.items() if column not in {*_KNOWN, patient} and cell},
    )


def _box(row: Row, where: str) -> tuple[int, int, int, int] | None:
    cells = [row.get(side, "") for side in _BOX]
    if not any(cells):
        return None
    try:
        left, top, right, bottom = (int(cell) for cell in cells)
    except ValueError as error:
        raise UsageError(f"{where}: the box ({', '.join(cells)}) needs four whole numbers, {_BOX}.") from error
    if not (0 <= left < right and 0 <= top < bottom):
        raise UsageError(f"{where}: the box {left, top, right, bottom} is empty or negative; it is {_BOX}.")
    return left, top, right, bottom
