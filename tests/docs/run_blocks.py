"""Runs the command blocks of the pages for readers, in order, on generated data. Usage: run_blocks.py [PAGE]...

Each line is given to bash as it stands, in one folder, whose home has the folders that the pages name. A training is made small by
flags put behind it. What is a placeholder, or needs a network, is in `LEFT_OUT`, with the reason.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    "quickstart", "researcher", "evaluate", "predict", "tables", "study", "embed", "export", "label-errors", "recalibrate",
    "reproduce",
]  # fmt: skip
LEFT_OUT = {
    r"\[MODEL\]|TABLE|THIS_FOLDER": "a placeholder",
    r"--seeds 3": "weights that have to be downloaded",
    r"^(python3? -m venv|\.venv|source|pip) ?": "sets up",
}
SMALL = [
    "--epochs", "1", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--set", "size=64", "--set", "grid={}",
    "--set", "repeats=1",
]  # fmt: skip
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("mammozoo ", "python ", "find ", "pip ", ".venv", "source ")


def mammozoo(words: list[str]) -> None:
    """The command line, with a training made small."""
    if words[:1] == ["train"] and not {"--resume", "--refit", "--extend"} & {*words}:
        words = [*words, *SMALL]
    from mammozoo.cli import main

    sys.argv = ["mammozoo", *words]
    main()


def generate(home: Path) -> None:
    """The folders and tables that the pages name."""
    from PIL import Image
    from tests.builtin.trees.bus_bra import bus_bra
    from tests.builtin.trees.dicom import write_dicom
    from tests.builtin.trees.pictures import busi

    from mammozoo.data.joined import open_dataset

    busi(home / "BUSI", 40)
    bus_bra(home / "BUSBRA", 60)
    data = open_dataset("phantom:n=160", None)
    head = ["path", "label", "patient", "side", "device", "birads", "shape"]
    tables: dict[str, list[list[str]]] = {"clinic": [head], "elsewhere": [head]}
    for number, sample in enumerate(data.samples()):
        place, image = "elsewhere" if number % 3 == 0 else "clinic", Image.fromarray(data.read(sample))
        path = home / place / sample.label / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        device, side = ["GE", "Philips"][number % 2], "LR"[number // 2 % 2]
        row = [sample.label, f"P{number // 4}", side, device, str(2 + number % 4), ["oval", "round"][number % 2]]
        tables[place].append([f"{sample.label}/{number:03}.png", *row])
        if number < 12:
            for name in ("scans", "new", "more", "archive", "w01"):
                (home / "here" / name).mkdir(parents=True, exist_ok=True)
            image.save(home / "here" / "scans" / f"{number}.png")
            image.save(home / "here" / "new" / f"{number}.png")
            for name in ("more/{}.dcm", "archive/{}.dcm"):
                write_dicom(home / "here" / name.format(number), data.read(sample), Modality="US")
    for place, rows in tables.items():
        with (home / place / "images.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    here = home / "here"
    shutil.copy(here / "new/0.png", here / "image.png")
    shutil.copytree(home / "clinic", here / "clinic", ignore=shutil.ignore_patterns("*.csv"))
    kinds = {"benign": ["cyst", "fibroadenoma"], "malignant": ["carcinoma"]}
    rows = [
        [f"{home}/clinic/{row[0]}", kinds[row[1]][i % len(kinds[row[1]])], row[2]]
        for i, row in enumerate(tables["clinic"][1:])
    ]
    with (here / "clinic.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient"], *rows])
    women = [[f"scans/{i}.png", f"W{i // 4}", "LR"[i // 2 % 2]] for i in range(12)]
    with (here / "women.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "patient", "side"], *women])


def theirs(here: Path, run: str) -> None:
    """`theirs.csv` and `truth.xlsx`, from the test rows of a run; copies of the run as `runs/a`, `b`, `c`."""
    with (here / run / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "test"]
    with (here / "theirs.csv").open("w", newline="") as file:
        columns = [name for name in rows[0] if name.startswith("p_")]
        csv.writer(file).writerows(
            [["image", *(f"prob_{c[2:]}" for c in columns)]] + [[r["sample"], *(r[c] for c in columns)] for r in rows]
        )
    book = openpyxl.Workbook()
    for cells in [["image", "truth"], *([row["sample"], row["label"]] for row in rows)]:
        book.active.append(cells)
    book.save(here / "truth.xlsx")
    for name in "abc":
        shutil.copytree(here / run, here / "runs" / name, dirs_exist_ok=True)


def lines(page: str) -> Iterator[str]:
    """The command lines of a page; of a block of console those behind `$`."""
    for kind, block in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")):
        shown = kind == "console" or "\n$ " in f"\n{block}"
        for line in re.sub(r"\\\n\s*", " ", block).splitlines() if kind in ("", "console", "bash") else ():
            if not shown and line.startswith(RUN):
                yield line
            elif line.startswith("$ "):
                yield line[2:]


def before(page: str, line: str, here: Path) -> str:
    """The line with the names that a page leaves to the reader; what it stands on is made first."""
    if page in ("evaluate", "tables") and not (here / "theirs.csv").is_file():
        shutil.rmtree(here / "runs/first", ignore_errors=True)
        run("mammozoo train ~/clinic/images.csv --set split.folds=1 --out runs/first", here)
        theirs(here, "runs/first")
    newest = max((here / "runs").glob("20*"), default=here / "runs/first")  # named by its time
    line = line.replace("runs/NAME", f"runs/{newest.name}").replace("/mnt/zoo", "zoo")
    if page == "predict" and line.startswith("mammozoo train ~/clinic "):
        line = f"mammozoo train ~/clinic --out runs/clinic {line.partition('~/clinic')[2]}"
    if page == "study" and " freeze " in line:
        path = here / "mine/study.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        tiny = {"epochs": 1, "backbone": "test_resnet", "weights": "random", "size": 64, "grid": {}, "repeats": 1}
        for model in content["models"].values():
            model["settings"] = model.get("settings", {}) | tiny
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return line


def run(line: str, here: Path) -> str:
    """What went wrong with a line, or nothing."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=here, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()[-600:]}"


def main(pages: list[str]) -> int:
    """Run the pages, or all; the number of lines that failed."""
    home, failed = Path(tempfile.mkdtemp(prefix="mammozoo-blocks-")), 0
    here = home / "here"
    (home / "bin").mkdir()
    (home / "bin/mammozoo").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" --mammozoo "$@"\n')
    (home / "bin/mammozoo").chmod(0o755)
    os.environ |= {"HOME": str(home), "PATH": f"{home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    os.environ |= {"MAMMOZOO_CACHE": str(home / "cache"), "HF_HUB_OFFLINE": "1", "MAMMOZOO_PLUGINS": ""}
    generate(home)
    for page in pages:
        scripts = [
            block
            for kind, block in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
            if kind == "python"
        ]
        for line in lines(page):
            if reason := next((why for what, why in LEFT_OUT.items() if re.search(what, line)), ""):
                print(f"{page}: {line}\n    left out: {reason}", flush=True)
                continue
            if script := re.match(r"python (\w+\.py)", line):
                (here / script[1]).write_text(scripts[0], encoding="utf-8")
            problem = run(before(page, line, here), here)
            failed += bool(problem)
            print(f"{page}: {line}\n    {problem or 'ok'}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    print(f"{failed} lines failed.")
    return failed


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--mammozoo"]:
        mammozoo(sys.argv[2:])
    else:
        sys.exit(min(main(sys.argv[1:] or PAGES), 1))
