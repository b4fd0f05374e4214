"""The folders, tables and runs that the pages name, generated."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import openpyxl
import yaml

#: What a page calls by a name that another page gives to something else: page → (here → nothing).
OWN: dict[str, Callable[[Path], None]] = {
    "embed": lambda here: (here / "clinic.csv").unlink(missing_ok=True),
    "datasets/csv": lambda here: _renamed(here),
    "zoo-publish": lambda here: shutil.rmtree(here / "our-zoo", ignore_errors=True),
}
KINDS = {"benign": ["cyst", "fibroadenoma"], "malignant": ["carcinoma"]}


def write(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    """A CSV file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def generate(home: Path) -> None:
    """What lies in the reader's home, and in the folder `here`."""
    from tests.builtin.trees.breast import breast
    from tests.builtin.trees.bus_bra import bus_bra
    from tests.builtin.trees.pictures import busi

    here = home / "here"
    busi(home / "BUSI", 40)
    bus_bra(home / "BUSBRA", 60)
    breast(home / "BREAST")
    _phantoms(home, here)
    for name in ("export", "archive"):
        shutil.copytree(here / "more", here / name)
    for name in ("new", "pictures", "w01"):
        shutil.copytree(here / "scans", here / name)
    shutil.copytree(here / "scans", home / "new")
    for name in ("image.png", "example.png", "lesion.png"):
        shutil.copy(here / "new/0.png", here / name)
    shutil.copytree(home / "clinic", here / "clinic", ignore=shutil.ignore_patterns("*.csv"))
    for name, target in {"busi": "BUSI/Dataset_BUSI_with_GT", "data/busi": "BUSI", "images": "clinic"}.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).symlink_to(home / target, target_is_directory=True)
    roots = {"busi": "../BUSI", "bus-bra": str(home / "BUSBRA"), "breast": "../BREAST"}
    (here / "roots.yaml").write_text(yaml.safe_dump(roots))
    (here / "limits.md").write_text("Trained on generated images.\n")
    (here / "key.txt").write_text("of the tests, and of nothing else\n")
    names = [f"{label} ({number})" for number in range(1, 41) for label in ("benign", "malignant", "normal")]
    rows = [(name, "test" if i % 5 == 0 else "train") for i, name in enumerate(names)]
    write(here / "splits_final.csv", [("sample", "part"), *rows])


def _phantoms(home: Path, here: Path) -> None:
    """Phantoms as two hospitals with tables, as a set that a file declares, as scans, as DICOM, and the table of women."""
    from PIL import Image
    from tests.builtin.trees.dicom import write_dicom

    from mammozoo.data.joined import open_dataset

    data = open_dataset("phantom:n=160", None)
    head = ["path", "label", "patient", "side", "device", "birads", "shape"]
    tables: dict[str, list[list[str]]] = {"clinic": [head], "elsewhere": [head]}
    declared = [["file", "biopsy", "machine"]]
    (here / "scans").mkdir(parents=True)
    (home / "declared/scans").mkdir(parents=True)
    for number, sample in enumerate(data.samples()):
        place, image = "elsewhere" if number % 3 == 0 else "clinic", Image.fromarray(data.read(sample))
        path = home / place / sample.label / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        device, side = ["GE", "Philips"][number % 2], "LR"[number // 2 % 2]
        row = [sample.label, f"P{number // 4}", side, device, str(2 + number % 4), ["oval", "round"][number % 2]]
        tables[place].append([f"{sample.label}/{number:03}.png", *row])
        image.save(home / f"declared/scans/P{number // 4}-{number}.png")
        declared.append(
            [f"P{number // 4}-{number}", {"benign": "B2", "malignant": "B5"}[sample.label], "AB"[number % 2]]
        )
        if number < 12:
            image.save(here / f"scans/{number}.png")
            write_dicom(here / f"more/{number}.dcm", data.read(sample), Modality="US")
    for place, rows in tables.items():
        write(home / place / "images.csv", rows)
    write(home / "declared/list.csv", declared)
    named = [[f"{home}/clinic/{row[0]}", *row[1:]] for row in tables["clinic"][1:]]
    write(home / "other/table.csv", [["path", "label", "diagnosis"], *([r[0], "", r[1]] for r in named)])
    kinds = [[r[0], KINDS[r[1]][i % len(KINDS[r[1]])], r[2]] for i, r in enumerate(named)]
    write(here / "clinic.csv", [["path", "label", "patient"], *kinds])
    write(here / "t.csv", [["file", "diagnosis", "woman"], *(r[:3] for r in named)])
    women = [[f"scans/{i}.png", f"W{i // 4}", "LR"[i // 2 % 2]] for i in range(12)]
    write(here / "women.csv", [["path", "patient", "side"], *women])


def _renamed(here: Path) -> None:
    """`clinic.csv` with the column names of the page about tables."""
    with (here / "t.csv").open() as file:
        write(here / "clinic.csv", [["image file path", "pathology", "patient"], *list(csv.reader(file))[1:]])


def theirs(here: Path, run: str) -> None:
    """`theirs.csv`, `truth.xlsx` and `truth.csv`, from the test rows of a run; copies of the run as `runs/a`, `b`, `c`."""
    with (here / run / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "test"]
    columns = [name for name in rows[0] if name.startswith("p_")]
    head = ["image", *(f"prob_{name[2:]}" for name in columns)]
    write(here / "theirs.csv", [head, *([row["sample"], *(row[name] for name in columns)] for row in rows)])
    truth = [["image", "truth", "device", "birads"]]
    truth += [[row["sample"], row["label"], ["GE", "Philips"][i % 2], str(2 + i % 3)] for i, row in enumerate(rows)]
    write(here / "truth.csv", truth)
    book = openpyxl.Workbook()
    for cells in truth:
        book.active.append(cells[:2])
    book.save(here / "truth.xlsx")
    for name in "abc":
        shutil.copytree(here / run, here / "runs" / name, dirs_exist_ok=True)
