"""Kill training at random moments, resume it, and compare what comes out with a run that nobody touched.

    python benchmarks/kill_and_resume.py [--kills 20] [--processes 1 2]

Each run is killed (kill -9, the whole process group) at random points until enough kills have hit; then it is finished and
its weights, history, predictions and scores are compared byte by byte with those of an uninterrupted run of as many
processes.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [
    "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--no-report",
    "--strategy", "full", "--head", "gap:dropout=0.3", "--batch", "8", "--set", "size=48", "--set", "augment=[hflip, affine]",
    "--set", "phases=[{name: adam, lr: 1e-3, epochs: 10}, {name: sgd, lr: 1e-2, epochs: 10}]",
    "--set", "schedule={kind: exponential, factor: 0.9}",
]  # fmt: skip
FILES = ("model.safetensors", "config.json", "predictions.csv", "scores.json", "splits.json")


def start(folder: Path, *words: object) -> subprocess.Popen[str]:
    """`mammozoo train` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mammozoo", "train", *map(str, words)],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def kill(folder: Path, words: list[object], rng: random.Random) -> bool:
    """Start, kill after a random while; whether it was still alive then."""
    process = start(folder, *words)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training"):
            break
    time.sleep(rng.uniform(0, 1.0))
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def history(run: Path) -> list[dict[str, str]]:
    """Its epochs, without what a clock wrote."""
    with (run / "holdout" / "history.csv").open(encoding="utf-8", newline="") as handle:
        return [{k: v for k, v in row.items() if k not in ("seconds", "rate")} for row in csv.DictReader(handle)]


def main() -> int:
    """Exit code 1 if any run came out differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    rng, wrong = random.Random(0), 0
    for processes in given.processes:
        folder = Path(tempfile.mkdtemp())
        team = ["--gpus", processes] if processes > 1 else []
        start(folder, *WORDS, *team, "--out", "whole").communicate()
        hits, runs, same = 0, 0, 0
        while hits < given.kills:
            shutil.rmtree(folder / "run", ignore_errors=True)
            for _ in range(10):
                begun = (folder / "run" / "run.json").exists()
                words = ["--resume", "run", "--no-report"] if begun else [*WORDS, "--out", "run"]
                if not kill(folder, [*words, *team], rng):
                    break
                hits += 1
            start(folder, "--resume", "run", "--no-report", *team).communicate()
            runs += 1
            equal = all((folder / "run" / n).read_bytes() == (folder / "whole" / n).read_bytes() for n in FILES)
            same += equal and history(folder / "run") == history(folder / "whole")
        print(
            f"{processes} process(es): {hits} kills in {runs} runs; {same} of {runs} ended with the bytes of the uninterrupted run"
        )
        wrong += runs - same
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
