"""Two processes on two cores against one process on one core: the same run, the same batch, images a second of training.

    python benchmarks/ddp.py [--backbone resnet50] [--rounds 2] [--json FILE]

The rate is the run's own (`history.csv`, last epoch): batches only, without start and validation. Each process has one thread.
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


def rate(folder: Path, backbone: str, strategy: str, processes: int) -> float:
    """Images a second of the last of two epochs."""
    out = folder / f"run-{len(list(folder.iterdir()))}"
    words = [
        sys.executable, "-m", "mammozoo", "train", "--dataset", "phantom:n=160", "--backbone", backbone, "--weights", "random",
        "--strategy", strategy, "--device", "cpu", "--epochs", "2", "--batch", "16", "--set", "size=224", "--set", "augment=[]",
        "--set", "cache=false", "--no-report", "--gpus", str(processes), "--out", str(out),
    ]  # fmt: skip
    subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    with (out / "holdout" / "history.csv").open(encoding="utf-8", newline="") as handle:
        return float(list(csv.DictReader(handle))[-1]["rate"])


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
    print("| strategy | one process, images/s | two processes | ratio |\n|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for strategy in given.strategies:
            turns = [[rate(Path(folder), given.backbone, strategy, n) for n in (1, 2)] for _ in range(given.rounds)]
            one, two = (statistics.median(turn[k] for turn in turns) for k in (0, 1))
            ratio = statistics.median(b / a for a, b in turns)
            rows.append({"strategy": strategy, "one": one, "two": two, "ratio": ratio})
            print(f"| {strategy} | {one:.1f} | {two:.1f} | {ratio:.2f} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"backbone": given.backbone, "load": load, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
