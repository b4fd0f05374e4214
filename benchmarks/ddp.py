"""Two processes on two cores against one process on one core: the same run, the same batch, images a second of training.

A third way tells what bounds them: two runs at the same time that know nothing of each other, each with half of the batch.
They share the cores and the memory's bandwidth and exchange nothing, so no two processes that train together can be faster.

    python benchmarks/ddp.py [--backbone resnet50] [--rounds 2] [--json FILE]

The rate is the run's own (`history.csv`, second of three epochs, so that runs side by side are both at work): batches only,
without start and validation. Each process has one thread. The ways take turns; medians are told, of ratios within a turn.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def begin(out: Path, backbone: str, strategy: str, processes: int, batch: int) -> subprocess.Popen[bytes]:
    """Start a run of three epochs."""
    words = [
        sys.executable, "-m", "mammozoo", "train", "--dataset", "phantom:n=160", "--backbone", backbone, "--weights", "random",
        "--strategy", strategy, "--device", "cpu", "--epochs", "3", "--batch", str(batch), "--set", "size=224",
        "--set", "augment=[]", "--set", "cache=false", "--no-report", "--gpus", str(processes), "--out", str(out),
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=quiet, stderr=quiet)


def rate(folder: Path, backbone: str, strategy: str, processes: int, apart: int = 1) -> float:
    """Images a second of the second epoch, summed over the runs that go on `apart` from each other."""
    count = len(list(folder.iterdir()))
    outs = [folder / f"run-{count + number}" for number in range(apart)]
    runs = [begin(out, backbone, strategy, processes, 16 // apart) for out in outs]
    codes = [run.wait() for run in runs]
    if any(codes):
        raise RuntimeError("a run failed")
    total = 0.0
    for out in outs:
        with (out / "holdout" / "history.csv").open(encoding="utf-8", newline="") as handle:
            total += float(list(csv.DictReader(handle))[1]["rate"])
    return total


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--strategies", nargs="+", default=["full", "drs"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{given.rounds} rounds, load {load:.1f} before\n")
    print(
        "| strategy | one process, images/s | two processes | ratio | two runs apart | ratio |\n|---|---|---|---|---|---|"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for strategy in given.strategies:
            what = (Path(folder), given.backbone, strategy)
            turns = [(rate(*what, 1), rate(*what, 2), rate(*what, 1, apart=2)) for _ in range(given.rounds)]
            one, two, apart = (statistics.median(turn[k] for turn in turns) for k in range(3))
            ratio, bound = (statistics.median(turn[k] / turn[0] for turn in turns) for k in (1, 2))
            rows.append({"strategy": strategy, "one": one, "two": two, "ratio": ratio, "apart": apart, "bound": bound})
            print(f"| {strategy} | {one:.1f} | {two:.1f} | {ratio:.2f} | {apart:.1f} | {bound:.2f} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"backbone": given.backbone, "load": load, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
