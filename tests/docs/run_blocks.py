"""Runs the command blocks of the pages for readers, in order, on generated data. Usage: run_blocks.py [PAGE]...

Each line is given to bash as it stands, in one folder, whose home has the folders that the pages name. A training is made small by
flags put behind it. What is not run is in `LEFT_OUT`, with the reason; whole pages are in `PAGES_LEFT_OUT`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    "../README", "quickstart", "researcher", "evaluate", "predict", "tables", "study", "embed", "export", "foreign", "label-errors",
    "recalibrate", "reproduce", "splits", "data-check", "explain", "methods", "search", "stages", "resume", "diagnose", "concepts",
    "scores", "report", "networks", "caching", "loggers", "adapters", "zoo", "zoo-publish", "datasets/csv", "datasets/folder",
    "datasets/several", "datasets/index", "datasets/declare", "datasets/phantom", "transforms",
]  # fmt: skip
_MEASURED, _TREES = "runs a benchmark for hours, or on images that others own", "its reader is tested on a small copy"
PAGES_LEFT_OUT = {
    **dict.fromkeys(
        ["coverage", "guard", "intervals", "models", "near-duplicates", "strategies", "thresholds"], _MEASURED
    ),
    **dict.fromkeys(["no-answer", "study-bus-bra", "speed-drs"], _MEASURED),
    **{
        f"datasets/{name}": _TREES
        for name in (
            "bcdr-f03",
            "breakhis",
            "breast",
            "breastmnist",
            "bus-bra",
            "busi",
            "cbis-ddsm",
            "inbreast",
            "mendeley",
            "mini-mias",
        )
    },
    "cluster": "needs graphics cards or a scheduler; tests/gpu and `tox -e cluster` run them",
    "foundation": "weights that have to be downloaded",
    "hospital": "a zoo on the Hub; tests/zoo goes that way with one on this machine",
    "peft": "an installed package of examples/; `tox -e thirdparty` runs them",
    "serve": "runs until it is stopped; tests/cli/test_serve.py and tests/first_hour.sh open it",
}
LEFT_OUT = {
    r"\[MODEL\]|TABLE|THIS_FOLDER|…$|\bDIR\b": "a placeholder",
    r"\boptuna\b|mammozoo_transformers|\./theirs": "an installed package of examples/",
    r"--seeds 3|hub:|lab[-/]|--remote|ZOO=our-zoo": "models or weights that have to be downloaded",
    r"^(python3? -m venv|\.venv|source|pip) ?": "sets up",
    r"benchmarks/|films\.yaml|all-mias|multistage-mendeley|drs-busi-resnet9|nnUNet|COMMIT": "measures, or images that others own",
}
SMALL = [
    "--epochs", "1", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--set", "size=64", "--set", "grid={}",
    "--set", "repeats=1",
]  # fmt: skip
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("mammozoo ", "python ", "find ", "pip ", ".venv", "source ", "MAMMOZOO_")
#: Errors in the data are an exit code of 1, and BUSI's copy has some.
FOUND = re.compile(r"mammozoo data (check|audit-split)")


def mammozoo(words: list[str]) -> None:
    """The command line, with a training made small."""
    if words[:1] == ["train"] and not {"--resume", "--refit", "--extend"} & {*words}:
        words = [*words, *SMALL]
    from mammozoo.cli import main

    sys.argv = ["mammozoo", *words]
    main()


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and content of each block of a page."""
    return BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))


def lines(page: str) -> Iterator[str]:
    """The command lines of a page; of a block of console those behind `$`."""
    for kind, block in blocks(page):
        shown = kind == "console" or "\n$ " in f"\n{block}"
        for line in re.sub(r"\\\n\s*", " ", block).splitlines() if kind in ("", "console", "bash") else ():
            if not shown and line.startswith(RUN):
                yield line
            elif line.startswith("$ "):
                yield line[2:]


def before(page: str, line: str, here: Path) -> str:
    """The line with the names that a page leaves to the reader; the runs that it stands on are trained first."""
    newest = max((here / "runs").glob("20*"), default=here / "runs/first")  # named by its time
    line = (
        line.replace("runs/NAME", f"runs/{newest.name}")
        .replace("/mnt/zoo", "zoo")
        .replace("splits_final.json", "splits_final.csv")
    )
    if page == "predict" and line.startswith("mammozoo train ~/clinic "):
        line = f"mammozoo train ~/clinic --out runs/clinic {line.partition('~/clinic')[2]}"
    if page == "recalibrate":
        line = line.replace("~/clinic", "~/elsewhere")  # which the model has not seen
    if page == "datasets/declare":
        line = line.replace("~/clinic", "~/declared")
    if page == "evaluate" and "--subgroup device" in line:  # quickstart's run has no such column
        shutil.rmtree(here / "runs/first", ignore_errors=True)
    made = set(re.findall(r"--out (?:\./)?runs/([\w-]+)", line))
    for name in sorted({*re.findall(r"\bruns/([\w-]+)", line)} - made | ({"first"} if "theirs.csv" in line else set())):
        if name not in "abc":
            train(name, here)
    if "runs/clinic/refit" in line and not (here / "runs/clinic/refit").is_dir():
        run("mammozoo train --refit runs/clinic", here)
    if not (here / "theirs.csv").is_file() and re.search(r"theirs\.csv|runs/[abc]\b", line):
        from tests.docs.block_data import theirs

        run("mammozoo train ~/clinic/images.csv --set split.folds=1 --out runs/theirs", here)
        theirs(here, "runs/theirs")
    for name in made:  # an earlier page may have had one of that name
        shutil.rmtree(here / "runs" / name, ignore_errors=True)
    if "theirs.csv" in line:
        line = line.replace("runs/first", "runs/theirs")  # tested on the images of the table
    if "--out theirs.onnx" in line:
        (here / "theirs.onnx").unlink(missing_ok=True)
    elif "theirs.onnx" in line and not (here / "theirs.onnx").is_file():
        run("mammozoo export ultrasound --out theirs.onnx", here)
    if page == "resume" and "--resume runs/first" in line:  # one that stopped after the first of two fits
        shutil.rmtree(here / "runs/first", ignore_errors=True)
        run("mammozoo train ~/clinic/images.csv --set split.folds=2 --fold 0 --out runs/first", here)
    if page == "study" and " freeze " in line:
        from mammozoo.documents import Document

        path = here / "mine/study.yaml"
        content = Document(path.read_text(encoding="utf-8")).content  # YAML 1.1 takes the key `on` for true
        tiny = {"epochs": 1, "backbone": "test_resnet", "weights": "random", "size": 64, "repeats": 1}
        for model in content["models"].values():
            model["settings"] = model.get("settings", {}) | tiny | {"grid": {}}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return line


def train(name: str, here: Path) -> None:
    """The run of that name, if an earlier page has not made it."""
    if not (here / "runs" / name).is_dir():
        data = (
            "--dataset busi --root ~/BUSI --set 'classes=[benign,malignant]'"
            if name.startswith("b")
            else "~/clinic/images.csv"
        )
        strategy = name if name in ("drs", "frozen") else "full"
        run(f"mammozoo train {data} --set split.folds=1 --strategy {strategy} --out runs/{name}", here)


def run(line: str, here: Path) -> str:
    """What went wrong with a line, or nothing."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=here, capture_output=True, text=True, check=False
    )
    good = done.returncode == 0 or (done.returncode == 1 and FOUND.match(line))
    return "" if good else f"exit {done.returncode}: {done.stderr.strip()[-600:]}"


def scripts(page: str, here: Path) -> None:
    """The files that the blocks of a page are: the first in Python, and the first declaration."""
    for kind, block in reversed(blocks(page)):
        if kind == "python":
            for name in {line.split()[1] for line in lines(page) if re.match(r"python \w+\.py", line)}:
                (here / name).write_text(block, encoding="utf-8")
        elif kind == "yaml" and page == "datasets/declare":
            (here / "ours.yaml").write_text(block, encoding="utf-8")


def main(pages: list[str]) -> int:
    """Run the pages, or all; the number of lines that failed."""
    from tests.docs.block_data import OWN, generate

    home, failed = Path(tempfile.mkdtemp(prefix="mammozoo-blocks-")), 0
    here = home / "here"
    (home / "bin").mkdir()
    (home / "bin/mammozoo").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" --mammozoo "$@"\n')
    (home / "bin/mammozoo").chmod(0o755)
    os.environ |= {"HOME": str(home), "PATH": f"{home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    os.environ |= {"MAMMOZOO_CACHE": str(home / "cache"), "HF_HUB_OFFLINE": "1", "MAMMOZOO_PLUGINS": ""}
    generate(home)
    for page in pages:
        began = time.monotonic()
        OWN.get(page, lambda here: None)(here)
        scripts(page, here)
        for line in lines(page):
            if reason := next((why for what, why in LEFT_OUT.items() if re.search(what, line)), ""):
                print(f"{page}: {line}\n    left out: {reason}", flush=True)
                continue
            problem = run(before(page, line, here), here)
            failed += bool(problem)
            print(f"{page}: {line}\n    {problem or 'ok'}", flush=True)
        print(f"{page}: {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    print(f"{failed} lines failed.")
    return failed


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--mammozoo"]:
        mammozoo(sys.argv[2:])
    else:
        sys.exit(min(main(sys.argv[1:] or PAGES), 1))
