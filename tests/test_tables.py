"""Tables as people have them: every row is read, or the table is refused with its line. No other end, whatever is in it."""

import random
import re
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image

from mammozoo.data.splits.files import read_splits
from mammozoo.errors import IncompatibleError, MammozooError, UsageError
from mammozoo.files import read_table, write_table
from mammozoo.tables import read_columns, read_rows
from mammozoo_datasets.csv_table import Csv

GOOD = "path,label,patient\na.png,benign,1\nb.png,malignant,2\n"


def read(path: Path, content: str | bytes, name: str = "t.csv") -> list[dict[str, str]]:
    (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return [row for _, row in read_rows(path / name, ("path", "label"), exact=True)]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GOOD, "t.csv"),
        (GOOD.replace(",", "\t"), "t.tsv"),
        ("sep=;\r\n" + GOOD.replace(",", ";").replace("\n", "\r\n"), "t.csv"),
        (GOOD.replace("\n", "\r"), "t.csv"),
        (GOOD.encode("utf-16"), "t.txt"),
        (GOOD.encode("utf-8-sig"), "t.csv"),
        (GOOD.replace("1\n", "1,,\n") + "\n , ,\n", "t.csv"),
        (",path,label,patient\n0,a.png,benign,1\n1,b.png,malignant,2\n", "t.csv"),
        ('path,label,patient\n"a.png","benign",\'1\'\nb.png,malignant,2'.replace("'", ""), "t.csv"),
    ],
)
def test_dialects_give_the_same_rows(tmp_path: Path, content: str | bytes, name: str) -> None:
    assert read(tmp_path, content, name) == [
        {"path": "a.png", "label": "benign", "patient": "1"},
        {"path": "b.png", "label": "malignant", "patient": "2"},
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,label,Label\na,b,c\n", "line 1: columns 2 and 3"),
        ("path,label, LABEL \na,b,c\n", "line 1: columns 2 and 3"),
        ('path,label\na,"b\nc,d\ne,f"\ng,h\n', "line 2"),
        ('path,label\na,b\nc,"d\n', "line 3"),
        ('path,label\na,"b"x\n', "line 2"),
        ("path,label\na,b\nc," + "x" * 200_000, "line 3"),
        ("path,label\na,b\nc,d,e\n", "line 3: 3 cells under 2 columns"),
        ("path,label\na,b\nc\n", "line 3: 1 cells under 2 columns"),
        ("path,label\na,b\0c\n", "line 2"),
        (b"path,label\na,b\nc,\xff\n", "line 3"),
        (b"PK\3\4rest", "workbook"),
        (b"\xd0\xcf\x11\xe0rest", "workbook"),
        ("filename,class\na,b\n", "line 1: there is no column 'path'"),
        ("", "no column"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_line(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(tmp_path, content)
    assert words in str(refused.value) and "t.csv" in str(refused.value) and "\n" not in str(refused.value)


def test_any_text_is_read_whole_or_refused(tmp_path: Path) -> None:
    pieces = ["a", "benign", '"', '""', ",", ",", "\n", "\r\n", " ", "é", "\u2028", "'", "\\", ";"]
    draw, reads = random.Random(0), 0
    for _ in range(600):
        lines = ["".join(draw.choices(pieces, k=draw.randint(1, 9))) for _ in range(draw.randint(1, 4))]
        text = "\n".join(["path,label", *lines])
        try:
            rows = read(tmp_path, text)
        except MammozooError:
            continue
        reads += 1
        lines = re.split(r"\r?\n", text)[1:]
        assert len(rows) == sum("," in line and re.search(r'[^\s,"]', line) is not None for line in lines), text
    assert reads > 20


def test_our_own_tables_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [
        {"sample": name, "label": "Ä"} for name in ('a,"b"\nc,d', " x ", "not utf-8 \udcff.png", "", "=1+1", "\u202e")
    ]
    assert read_table(write_table(tmp_path / "t.csv", rows)) == rows
    assert (tmp_path / "t.csv").read_text(encoding="utf-8")  # valid UTF-8, whatever the names are
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    for damaged in (text[:-3], text + 'x,"', text + "x,y,z\n", text.encode("utf-16")[3:]):
        (tmp_path / "d.csv").write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        with pytest.raises(IncompatibleError, match=r"d\.csv"):
            read_table(tmp_path / "d.csv")


def workbook(path: Path, rows: list[list[object]], merge: str = "") -> Path:
    book = openpyxl.Workbook()
    book.active.append(["a sheet", "of remarks"])
    sheet = book.create_sheet("data")
    for row in rows:
        sheet.append(row)
    if merge:
        sheet.merge_cells(merge)
    book.save(path)
    return path


def test_workbooks(tmp_path: Path) -> None:
    rows: list[list[object]] = [["Path", "label", "patient"], ["a.png", "benign", 3.0], [], ["b.png", "malignant", "Ü"]]
    path = workbook(tmp_path / "t.xlsx", rows)
    assert [(line, row["patient"]) for line, row in read_rows(path, ("path", "label"))] == [(2, "3"), (4, "Ü")]
    with pytest.raises(UsageError, match="C2:C4 are merged"):
        read_rows(workbook(tmp_path / "m.xlsx", rows, "C2:C4"), ("path", "label"))
    whole = path.read_bytes()
    for damaged in (whole[:300], whole[:-200], whole.replace(b"xl/workbook.xml", b"xl/workbook.xmk"), b"text"):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match="cannot be read"):
            read_rows(path, ("path", "label"))


# ---------------------------------------------------------------- what a table of images means


def images(folder: Path, *names: str) -> Path:
    for name in names or ("a.png", "b.png", "c.png", "d.png"):
        Image.fromarray(np.full((20, 20), 9, np.uint8)).save(folder / name)
    return folder


def csv_of(folder: Path, column: str, *cells: str, more: str = "") -> Csv:
    rows = zip("abcd", cells, more or [""] * 4, strict=True)
    lines = [f"{name}.png,{'xy'[i % 2]},{cell}{second}" for i, (name, cell, second) in enumerate(rows)]
    (folder / "t.csv").write_text("\n".join([f"path,label,{column}", *lines]), encoding="utf-8")
    return Csv(folder / "t.csv")


NAMES = """patient patient_id PatientID Patient-ID patient\u00a0id patients Patient_No patientnumber patient_name PID pat_id
subject subject_id SubjectID subj_id case case_id CaseNumber participant_id person_id ID_patient mrn individual Patientennummer"""


@pytest.mark.parametrize("column", NAMES.replace("\n", " ").split(" "))
def test_the_usual_names_of_patients_are_understood_and_said(tmp_path: Path, column: str) -> None:
    dataset = csv_of(images(tmp_path), column, "P1", "P1", "P2", "NaN")
    assert [sample.patient for sample in dataset.samples()] == ["P1", "P1", "P2", None]
    assert f"column '{column.lower()}' names 2 patients, 1 rows name none" in dataset.notes[0]


NOBODY = ("", " ", "NaN", "nan", "N/A", "unknown", "Unknown", "null", "None", "#N/A", "-", "?", "missing")


@pytest.mark.parametrize("cell", NOBODY)
def test_words_for_nobody_are_no_patient(tmp_path: Path, cell: str) -> None:
    assert {sample.patient for sample in csv_of(images(tmp_path), "patient_id", *[cell] * 4).samples()} == {None}


@pytest.mark.parametrize(
    ("column", "more", "refused"),
    [
        ("patient_id,PatientID", (",1", ",2", ",1", ",2"), True),  # another division
        ("patient_id,PatientID", (",A", ",A", ",B", ",B"), False),  # the same under other names
        ("subject,case_id", (",1", ",2", ",3", ",4"), True),
        ("patient,case_id", (",1", ",2", ",3", ",4"), False),  # the word says it
        ("patient_id,patient_age", (",40", ",50", ",60", ",70"), False),
        ("anon_patient_ref,x", (",1", ",2", ",3", ",4"), True),  # may be the patient
        ("inpatient,x", (",1", ",2", ",3", ",4"), False),
    ],
)
def test_in_doubt_about_the_patient_a_table_is_refused(
    tmp_path: Path, column: str, more: tuple[str, ...], refused: bool
) -> None:
    dataset = csv_of(images(tmp_path), column, "P1", "P1", "P2", "P2", more=more)
    if refused:
        with pytest.raises(UsageError, match=column.partition(",")[0]):
            dataset.samples()
    else:
        named = [sample.patient for sample in dataset.samples()]
        assert named == ([None] * 4 if column.startswith("in") else ["P1", "P1", "P2", "P2"])


def test_spellings_of_a_label_are_one_class_and_said(tmp_path: Path) -> None:
    spelled = ["Benign", "benign", "benign ", unicodedata.normalize("NFD", "bösartig"), "bösartig", "BÖSARTIG"]
    images(tmp_path, *(f"{n}.png" for n in range(6)))
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(spelled))
    (tmp_path / "t.csv").write_text("path,label\n" + rows, encoding="utf-8")
    dataset = Csv(tmp_path / "t.csv")
    assert [sample.label for sample in dataset.samples()] == ["benign"] * 3 + ["bösartig"] * 3
    assert dataset.classes == ("benign", "bösartig")
    assert "6 rows" in dataset.notes[0] and "'Benign'" in dataset.notes[1] and "'BÖSARTIG'" in dataset.notes[2]


def test_one_file_has_one_label_under_any_of_its_names(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "a.png")
    for name in ("a.png", "./a.png", "x/../a.png", "link.png", "hard.png", str(tmp_path / "a.png")):
        (tmp_path / "t.csv").write_text(f"path,label\na.png,benign\nb.png,malignant\n{name},malignant\n")
        with pytest.raises(UsageError, match=r"2.*4"):
            Csv(tmp_path / "t.csv").samples()


def test_names_in_another_unicode_form_than_on_disk_are_found(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Ärztin ü") for form in ("NFC", "NFD")]
    for disk, listed in (forms, forms[::-1]):
        folder = tmp_path / disk
        folder.mkdir()
        images(folder, f"{disk}.png", "b.png")
        (tmp_path / "t.csv").write_text(f"path,label\n{listed}/{listed}.png,x\n{listed}/b.png,y\n", encoding="utf-8")
        dataset = Csv(tmp_path / "t.csv")
        assert all(dataset.read(sample).shape == (20, 20) for sample in dataset.samples())
        (tmp_path / "s.csv").write_text(f"sample,part\n{listed}.png,train\nb.png,test\n", encoding="utf-8")
        assert not read_splits(tmp_path / "s.csv", [sample.image for sample in dataset.samples()]).unknown


def test_a_name_that_no_disk_takes_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"path,label\n{'x' * 300}.png,x\n~nobody/a.png,y\n")
    with pytest.raises(MammozooError, match="2 files that do not exist"):
        Csv(tmp_path / "t.csv").samples()


def test_blocks_of_rows_are_read_as_single_rows_are(tmp_path: Path, monkeypatch) -> None:
    """Columns are read many rows at a time: rows, lines and refusals are those of the reader of single rows."""
    monkeypatch.setattr("mammozoo.tables.records._CHUNK", 3)
    rng, path = random.Random(0), tmp_path / "t.csv"
    cells = ["a", " b ", "", '"c"', '"d\ne"', '"f\r\n\ng"', "é", '"h, i"', '"j', "k,l", '"m\n,n"']
    refused = 0
    for _ in range(400):
        rows = ["x,y"] + [
            rng.choice(["", ",", *[f"{rng.choice(cells[:8])},{rng.choice(cells[:8])}"] * 8]) for _ in range(9)
        ]
        if rng.random() < 0.4:
            rows.insert(rng.randrange(1, 10), f"{rng.choice(cells)},{rng.choice(cells)}")
        path.write_bytes("\n".join(rows).encode())
        try:
            expected = [(line, row) for line, row in read_rows(path, ["x"], exact=True)]
        except UsageError as error:
            refused += 1
            with pytest.raises(UsageError, match=f"^{re.escape(str(error))}$"):
                read_columns(path)
            continue
        found = read_columns(path)
        assert [*zip(found.lines.tolist(), map(list, zip(found.of["x"], found.of["y"], strict=True)), strict=True)] == [
            (line, [row["x"], row["y"]]) for line, row in expected
        ]
    assert 20 < refused < 300
    path.write_text("x,y\n1\n2\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2: 1 cells under 2 columns"):
        read_columns(path)


def test_columns_are_read_in_little_more_than_their_own_memory(tmp_path: Path, monkeypatch) -> None:
    path, n = tmp_path / "many.csv", 60_000
    monkeypatch.setattr("mammozoo.tables.records._CHUNK", 5_000)
    path.write_text(
        "id,patient,truth\n" + "".join(f"img_{i:07d}.png,P{i:06d},benign\n" for i in range(n)), encoding="utf-8"
    )
    tracemalloc.start()
    try:
        found = read_columns(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    own = found.lines.nbytes + sum(texts.nbytes for texts in found.of.values())
    assert len(found.lines) == n and peak < 2 * own, f"{peak / own:.2f} times the columns"
