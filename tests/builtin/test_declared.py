"""Data sets that YAML files declare: those of mammozoo on trees in their layout, and a user's own."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from mammozoo.config.names import parse
from mammozoo.data.joined import open_dataset, without_paths
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.testing import checks, run

from .trees import declared as trees
from .trees.drawing import picture, save, spot

#: Name → its tree, (label, patient, number of masks) of each sample, and what one of them says besides.
SETS: dict[str, tuple[Callable[[Path], Path], list[tuple[str, str | None, int]], dict[str, object]]] = {
    "bus-uclm": (
        trees.bus_uclm,
        [("benign", "ALWI", 1), ("normal", "ALWI", 1), ("malignant", "FUHI", 1)],
        {"marks": "Yes", "doppler": "No", "combined": "No"},
    ),
    "udiat-b": (
        trees.udiat_b,
        [("benign", "1", 1), ("malignant", "2", 1), ("benign", "3", 1), ("malignant", "4", 1)],
        {"image": "1"},
    ),
    "bus-uc": (trees.bus_uc, [("benign", None, 1)] * 3 + [("malignant", None, 1)] * 3, {"number": 1}),
    "vindr-mammo": (
        trees.vindr_mammo,
        [("not-suspicious", "0" * 32, 0)] * 2 + [("suspicious", f"{1:032x}", 0)] * 2,
        {
            "side": "L",
            "view": "CC",
            "part": "train",
            "breast_birads": "BI-RADS 1",
            "density": "DENSITY C",
            "series_id": "5",
            "height": None,
        },
    ),
    "rsna-2022": (
        trees.rsna_2022,
        [("no-cancer", "10", 0)] * 2 + [("no-cancer", "11", 0), ("cancer", "11", 0)],
        {"side": "L", "view": "CC", "device": "49", "site": "2", "age": "61.0"},
    ),
    "cmmd": (
        trees.cmmd,
        [("benign", "D1-0001", 0)] * 2 + [("malignant", "D1-0002", 0)] * 2,
        {"side": "R", "view": "CC", "abnormality": "calcification"},
    ),
    "cdd-cesm": (
        trees.cdd_cesm,
        [("normal", "1", 0), ("benign", "2", 0), ("malignant", "3", 0)],
        {"energy": "DM", "type": "DM", "side": "L", "view": "MLO"},
    ),
    "kau-bcmd": (
        trees.kau_bcmd,
        [
            (label, f"{20 + n:05}", 0)
            for n, label in enumerate(["not-suspicious"] * 2 + ["suspicious"] * 2)
            for _ in "LR"
        ],
        {"birads": 1, "year": 2018, "view": "CC", "side": "L"},
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_a_declared_set_on_a_tree_in_its_layout(name: str, tmp_path: Path) -> None:
    make, expected, facts = SETS[name]
    root = make(tmp_path / "copy")
    dataset = open_dataset(name, root)
    samples = dataset.samples()
    assert [(s.label, s.patient, len(s.masks)) for s in samples] == expected
    assert {key: samples[0].meta.get(key) for key in facts} == facts
    found = [run(check) for check in checks("datasets", only=[name], root=root)]
    assert {result.state for result in found} == {"passed"}, found
    (tmp_path / "holiday").mkdir()
    with pytest.raises(NotFoundError) as error:
        open_dataset(name, tmp_path / "holiday").samples()
    assert dataset.info.layout in str(error.value)


def test_options_choose_by_column_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    trees.cdd_cesm(tmp_path / "cesm")
    dataset = open_dataset("cdd-cesm:energy=CM", tmp_path / "cesm")
    assert {"_CM_" in sample.image for sample in dataset.samples()} == {True}
    assert len(open_dataset("cdd-cesm:all", tmp_path / "cesm").samples()) == 6
    assert any("3 images are left out (energy=CM)" in note for note in dataset.notes)
    trees.cmmd(tmp_path / "cmmd")
    dataset = open_dataset("cmmd", tmp_path / "cmmd")
    dataset.samples()
    assert any(note.startswith("2 images left out") for note in dataset.notes)  # of a breast without a row
    masks = open_dataset("bus-uclm", trees.bus_uclm(tmp_path / "uclm"))
    assert [bool(masks.mask(sample).any()) for sample in masks.samples()] == [True, False, True]


# ---------------------------------------------------------------- a user's own

OWN = """\
title: Our clinic
modality: ultrasound
classes: [benign, malignant]
image: 'scans/(?P<patient>P\\d+)-(?P<number>\\d+)\\.png'
mask: 'outlines/(?P<patient>P\\d+)-(?P<number>\\d+)\\.png'
table: list.csv
split: {file: '(?P<patient>P\\d+)-(?P<number>\\d+)'}
columns: {label: biopsy, device: machine}
values: {label: {B3: null, B2: benign, B5: malignant}}
options: {device: {values: [all, A, B]}}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The file `ours.yaml` beside its data in `data`: two patients of two images each, and one of an unclear class."""
    for number, name in enumerate(("P1-1", "P1-2", "P2-1", "P3-1", "P4-1")):
        save(tmp_path / "data" / "scans" / f"{name}.png", picture(8800 + number))
        save(tmp_path / "data" / "outlines" / f"{name}.png", spot())
    rows = ["file;biopsy;machine", "P1-1;B2;A", "P1-2;B2;B", "P2-1;B5;A", "P3-1;b5;B", "P4-1;B3;A"]
    (tmp_path / "data" / "list.csv").write_text("\n".join(rows))
    (tmp_path / "ours.yaml").write_text(OWN)
    return tmp_path / "ours.yaml"


def test_own_file_is_read_shown_and_pickled(own: Path, command) -> None:
    dataset = open_dataset(f"{own}:device=A", own.parent / "data")
    samples = dataset.samples()
    assert [(s.label, s.patient, len(s.masks), s.meta["device"]) for s in samples] == [
        ("benign", "P1", 1, "A"), ("malignant", "P2", 1, "A"),
    ]  # fmt: skip
    assert any("1 images are left out by the rule" in note and "P4-1" in note for note in dataset.notes)
    assert pickle.loads(pickle.dumps(dataset)).samples() == samples
    shown = json.loads(command("data", "show", own, "--root", own.parent / "data", "--json").ok.out)
    assert (shown["name"], shown["found"]["images"], shown["options"][0]["values"]) == ("ours", 4, "all | A | B")
    assert "our clinic" in command("data", "show", own).ok.out.lower()
    assert len(open_dataset(f"a={own}+b={own}", {"a": own.parent / "data", "b": own.parent / "data"}).samples()) == 8
    assert without_paths(f"a={own}:device=A+busi") == "a=ours:device=A+busi" and without_paths(str(own)) == "ours"


def test_a_model_trained_on_an_own_file_names_the_file_and_no_path(own: Path, command, tmp_path: Path) -> None:
    for number in range(30):
        save(tmp_path / "many" / "scans" / f"P{number}-1.png", picture(8900 + number))
    rows = ["file;biopsy;machine", *(f"P{number}-1;B{(2, 5)[number % 2]};A" for number in range(30))]
    (tmp_path / "many" / "list.csv").write_text("\n".join(rows))
    out = tmp_path / "run"
    trained = command(
        "train", "--dataset", own, "--root", tmp_path / "many", "--backbone", "test_resnet", "--weights", "random",
        "--set", "size=32", "--epochs", "1", "--no-report", "--out", out,
    )  # fmt: skip
    assert trained.ok
    assert json.loads((out / "config.json").read_text())["mammozoo"]["training"]["dataset"] == "ours"
    scored = json.loads(command("evaluate", out, "--dataset", own, "--root", tmp_path / "many", "--json").ok.out)
    assert scored["dataset"] == str(own)


def test_a_file_may_have_any_name_and_is_read_anew_after_a_change(own: Path) -> None:
    other, root = own.with_name("our set (2).yaml"), own.parent / "data"
    other.write_text(OWN)
    assert (
        open_dataset(str(other), root).info.name == without_paths(f"{other}:device=A").partition(":")[0] == "our-set-2"
    )
    assert parse(str(other)).name == str(other) and parse("mine:file=x.yaml").name == "mine"
    other.write_text(OWN.replace("B3: null", "B3: benign"))
    os.utime(other, ns=(1, 1))
    assert len(open_dataset(str(other), root).samples()) == 5


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: Our clinic\n", "", "title"),
        ("table: list.csv", "table: list.csv\ntabel: x", "line 7.*tabel"),
        ("modality: ultrasound", "modality: sonar", "line 2.*modality"),
        ("scans/(", "scans/((", "line 4.*regular expression"),
        ("[benign, malignant]", "[benign]", "line 3.*classes"),
        ("outlines/(?P<patient>P\\d+)", "outlines/(?P<woman>P\\d+)", "groups of `mask`"),
        ("device: {values: [all, A, B]}", "device: {values: [A, B]}", "'all'"),
        ("{file: '(?P<patient>P\\d+)-(?P<number>\\d+)'}", "{}", "no column of"),
        ("B2: benign", "B2: kind", "line 2: the label 'kind'"),
        ("biopsy, device", "diagnosis, device", "no column 'diagnosis'"),
        ("{file: '(?P<patient>P", "{file: '(?P<patient>Q", "line 2: 'P1-1'"),
        ("title: Our clinic", "- title", "cannot be read|does not declare"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(own: Path, old: str, new: str, said: str) -> None:
    assert OWN.count(old) == 1
    own.write_text(OWN.replace(old, new))
    with pytest.raises(UsageError, match=said):
        open_dataset(str(own), own.parent / "data").samples()


def test_rows_and_images_that_are_there_twice_are_refused_and_a_file_that_is_not_there(own: Path) -> None:
    table = own.parent / "data" / "list.csv"
    table.write_text(table.read_text() + "\nP1-1;B5;A")
    with pytest.raises(UsageError, match=r"'scans/P1-1\.png' twice, in lines 2 and 7"):
        open_dataset(str(own), own.parent / "data").samples()
    save(own.parent / "data" / "copy" / "scans" / "P1-1.png", picture(1))
    with pytest.raises(UsageError, match="are the same image"):
        open_dataset(str(own), own.parent / "data").samples()
    with pytest.raises(NotFoundError, match=r"nowhere\.yaml"):
        open_dataset("nowhere.yaml", own.parent)
