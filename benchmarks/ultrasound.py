"""Makes the built-in model `ultrasound`: the split, five fits, one model on all images, its scores elsewhere, its place in the zoo.

python benchmarks/ultrasound.py --bus-bra BUSBRA --busi Dataset_BUSI_with_GT --out OUT

OUT gets split.csv, run/, busi.json and zoo/. Every step that is there already is left alone, and a training that was stopped
goes on. The external set is looked at once, after everything was chosen.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

LIMITS, RECIPE = (Path(__file__).with_name(f"ultrasound.{kind}") for kind in ("md", "yaml"))
#: Cases whose images are near-duplicates of those of a case in another official fold → that case.
TWINS = {"0065": "0044", "0356": "0341"}


def write_split(table: Path, out: Path) -> None:
    """The official five folds of BUS-BRA, with two cases moved to the fold of their twins: `5-fold-cv.csv` → a split file."""
    with table.open() as handle:
        folds = {row["ID"]: row["kFold"] for row in csv.DictReader(handle)}
    of_case = {name.split("_")[1].split("-")[0]: fold for name, fold in folds.items()}
    moved = {name: of_case[TWINS.get(case, case)] for name in folds for case in [name.split("_")[1].split("-")[0]]}
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("sample", "part", "split"))
        for fold in sorted(set(moved.values())):
            writer.writerows((name, "test" if own == fold else "train", f"fold-{fold}") for name, own in moved.items())


def mammozoo(*words: object, to: Path | None = None) -> None:
    """Run one command, its result into a file if one is named."""
    command = [sys.executable, "-m", "mammozoo", *map(str, words)]
    print("+ mammozoo", *words, flush=True)
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE if to else None).stdout
    if to:
        to.write_bytes(said)


def main() -> None:
    """All steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bus-bra", "busi", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    split, run, elsewhere = out / "split.csv", out / "run", out / "busi.json"
    if not split.exists():
        write_split(given.bus_bra / "5-fold-cv.csv", split)
    if not (run / "report.html").exists():
        data = ("--root", given.bus_bra, "--set", "split.official=false", "--set", f"split.file={split}")
        mammozoo("train", *(("--resume", run) if run.exists() else (RECIPE, *data, "--out", run)))
    mammozoo("train", "--refit", run)
    if not elsewhere.exists():
        mammozoo("evaluate", run / "refit", "--dataset", "busi", "--root", given.busi, "--json", to=elsewhere)
    words = ("--name", "ultrasound", "--license", "CC-BY-4.0", "--evaluated", elsewhere, "--limits", LIMITS)
    mammozoo("zoo", "push", run / "refit", "--to", out / "zoo", *words)


if __name__ == "__main__":
    main()
