"""Images of one's own: in a folder for each class, or in a table."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mammozoo
from mammozoo.config.loading import load
from mammozoo.data.dataset import Sample
from mammozoo.data.loaded import open_dataset
from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets.csv_table import Csv
from mammozoo_datasets.folder import Folder

from .trees.drawing import grey


def test_folder(tmp_path) -> None:
    grey(tmp_path / "malignant" / "clinic" / "2.PNG")
    grey(tmp_path / "malignant" / "1.bmp")
    grey(tmp_path / "benign" / "1.png")
    grey(tmp_path / "benign" / "1_mask.png", 255)
    grey(tmp_path / "benign" / "face_mask.png")  # no image 'face'
    grey(tmp_path / "benign" / ".hidden.png")
    grey(tmp_path / "benign" / ".cache" / "3.png")
    grey(tmp_path / ".thumbnails" / "3.png")
    grey(tmp_path / "__MACOSX" / "3.png")
    (tmp_path / "labels.txt").touch()
    (tmp_path / "benign" / "notes.doc").touch()
    dataset = Folder(tmp_path)
    samples = dataset.samples()
    assert dataset.classes == ("benign", "malignant")
    assert [(s.image, s.label) for s in samples] == [
        ("benign/1.png", "benign"),
        ("malignant/1.bmp", "malignant"),
        ("malignant/clinic/2.PNG", "malignant"),
    ]
    assert samples[0].masks == ("benign/1_mask.png",)
    mask = dataset.mask(samples[0])
    assert mask.all()
    said = " ".join(dataset.notes)
    assert "1 masks left out, without an image: 'benign/face_mask.png'" in said
    assert "2 files left out, not an image: 'benign/notes.doc', 'labels.txt'" in said
    assert "4 system files" in said and "'__MACOSX'" in said


def test_folder_refuses(tmp_path) -> None:
    image = grey(tmp_path / "benign" / "1.png")
    for root in (tmp_path, image):
        with pytest.raises(UsageError, match="at least two class folders"):
            Folder(root)
    (tmp_path / "malignant").mkdir()
    with pytest.raises(UsageError, match=r"malignant' holds no image"):
        Folder(tmp_path).samples()


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for name in ("a.png", "b.png", "m1.png", "m2.png"):
        grey(folder / "images" / name)
    path = folder / "list.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_csv(tmp_path) -> None:
    path = table(
        tmp_path,
        "path,label,patient,mask,left,top,right,bottom,birads\n"
        " images/a.png , benign,P1,images/m1.png;images/m2.png,1,2,5,9,4a\n"
        "\n"
        "images\\b.png,malignant,,,,,,,\n",
    )
    dataset = Csv(path)
    assert dataset.samples() == [
        Sample("images/a.png", "benign", "P1", ("images/m1.png", "images/m2.png"), (1, 2, 5, 9), {"birads": "4a"}),
        Sample("images/b.png", "malignant"),
    ]
    assert dataset.classes == ("benign", "malignant")
    assert dataset.read(dataset.samples()[1]).shape == (18, 20)


def test_columns_of_other_tables_are_mapped(tmp_path) -> None:
    """As options of the data set, and as a mapping in a recipe; a table's own `label` makes way."""
    path = table(
        tmp_path,
        "patient_id,Image file path,pathology,label,Who,roi\n"
        "x,images/a.png,MALIGNANT,1,W1,images/m1.png\ny,images/b.png,BENIGN,2,W1,\n",
    )
    recipe = load(
        None,
        {
            "dataset": "csv",
            "root": path,
            "columns": {"path": "image file path", "label": "pathology", "patient": "who", "mask": "roi"},
        },
    )
    dataset = open_dataset(recipe.dataset, recipe.root)
    assert [(s.image, s.label, s.patient, s.masks) for s in dataset.samples()] == [
        ("images/a.png", "MALIGNANT", "W1", ("images/m1.png",)),
        ("images/b.png", "BENIGN", "W1", ()),
    ]
    assert dataset.samples()[0].meta == {"patient_id": "x"} and "'patient' names 1 patients" in dataset.notes[0]
    assert load(recipe).dataset == recipe.dataset == "csv:path=image file path,label=pathology,patient=who,mask=roi"
    with pytest.raises(UsageError, match="no column 'file'"):
        open_dataset("csv:path=file,label=pathology", path).samples()
    with pytest.raises(UsageError, match="no option 'labl'"):
        open_dataset(load(None, {"dataset": "csv", "columns": {"labl": "pathology"}}).dataset, path)
    for wrong in ("label", {"label": "a,b"}, ["label"]):
        with pytest.raises(UsageError, match="columns"):
            load(None, {"dataset": "csv", "columns": wrong})


@pytest.mark.parametrize(
    ("delimiter", "encoding", "end"), [(",", "utf-8", "\r\n"), (";", "utf-8-sig", "\n"), ("\t", "utf-8", "\n")]
)
def test_csv_dialects(tmp_path, delimiter: str, encoding: str, end: str) -> None:
    rows = [("Label", "Path", "patient"), ("gutartig", "images/a.png", "Ä"), ("bösartig", "images/b.png", "2")]
    path = table(tmp_path, end.join(delimiter.join(row) for row in rows), encoding)
    assert [(s.label, s.patient) for s in Csv(path).samples()] == [("gutartig", "Ä"), ("bösartig", "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,lable\na,b", "line 1: there is no column 'label'. Did you mean 'lable'?"),
        ("", "none"),
        ("path,label\nimages/a.png,x\nimages/b.png,", "line 3: the label is empty"),
        ("path,label\n,x", "line 2: the path is empty"),
        ("path,label\nimages/a.png,x\nimages/b.png,y\nimages/a.png,y", "twice, in lines 2 and 4"),
        ("path,label\nimages/a.png,x,y", "line 2: 3 cells under 2 columns"),
        ("path,label,left,top,right,bottom\nimages/a.png,x,1,2,,4", "needs four whole numbers"),
        ("path,label,left,top,right,bottom\nimages/a.png,x,5,2,5,4", "line 2: the box (5, 2, 5, 4) is empty"),
        ("path,label\nimages/a.png,x\nimages/b.png,x", "fewer than two different labels"),
    ],
)
def test_csv_refuses(tmp_path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Csv(table(tmp_path, text)).samples()


def test_csv_names_missing_files(tmp_path) -> None:
    rows = "".join(f"images/{number}.png,{'xy'[number % 2]}\n" for number in range(7))
    with pytest.raises(NotFoundError) as missing:
        Csv(table(tmp_path, "path,label\n" + rows)).samples()
    assert "7 files" in str(missing.value) and "'images/4.png' (line 6)" in str(missing.value)
    assert "images/5.png" not in str(missing.value)


def test_in_python_a_folder_stands_in_the_place_of_a_data_set(tiny_run, tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / "clinic" / ("benign" if number % 2 else "malignant") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    found = mammozoo.evaluate(tiny_run.path, str(tmp_path / "clinic"), device="cpu")
    assert len(found.evaluation.predictions) == 6
