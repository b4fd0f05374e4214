"""Kill training at random moments, resume it, and compare what comes out with a run that nobody touched.

    python benchmarks/kill_and_resume.py [--kills 20] [--processes 1 2]

Each run is killed (kill -9) at random points until enough kills have hit; then it is finished, and its weights, history,
predictions and scores are compared byte by byte with those of an uninterrupted run of as many processes. With several
processes the one that is killed is drawn too: the launcher or any of the others; whatever is left must end by itself.
"""

from __future__ import annotations

import argparse
import collections
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

#: Dropout, augmentation, momentum, a schedule and two phases: everything that has a state.
WORDS = [
    "--dataset", "phantom:n=40", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--no-report",
    "--strategy", "full", "--head", "gap:dropout=0.3", "--batch", "8", "--set", "size=48", "--set", "augment=[hflip, affine]",
    "--set", "phases=[{name: adam, lr: 1e-3, epochs: 10}, {name: sgd, lr: 1e-2, epochs: 10}]",
    "--set", "schedule={kind: exponential, factor: 0.9}",
]  # fmt: skip
FILES = ("model.safetensors", "config.json", "predictions.csv", "scores.json", "splits.json")


def history(run: Path, fit: str = "holdout") -> list[dict[str, str]]:
    """A fit's epochs, without what a clock wrote."""
    with (run / fit / "history.csv").open(encoding="utf-8", newline="") as handle:
        return [{k: v for k, v in row.items() if k not in ("seconds", "rate")} for row in csv.DictReader(handle)]


def differences(a: Path, b: Path, fit: str = "holdout") -> list[str]:
    """Names of the files in which two runs differ: byte by byte, but for the clock's columns of the history."""
    found = [name for name in FILES if (a / name).read_bytes() != (b / name).read_bytes()]
    return found if history(a, fit) == history(b, fit) else [*found, "history.csv"]


def start(folder: Path, *words: object) -> subprocess.Popen[str]:
    """`mammozoo train` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mammozoo", "train", *map(str, words)],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def finish(folder: Path, *words: object) -> None:
    """The same, to its end.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    process = start(folder, *words)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"mammozoo train {' '.join(map(str, words))} ended with {process.returncode}:\n{said}")


def children(pid: int) -> list[int]:
    """The processes that a process has started (Linux)."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def kill(folder: Path, words: list[object], rng: random.Random, longest: float) -> str:
    """Start, kill one process at random after a random while; which one, or an empty string where all was over by then.

    Raises:
        RuntimeError: processes of the run live on for 30 s.
    """
    process = start(folder, *words)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training"):
            break
    time.sleep(rng.uniform(0, longest))
    others = children(process.pid)
    names = ["the only process"] if not others else ["the launcher", *(f"process {n + 1}" for n in range(len(others)))]
    name, victim = rng.choice(list(zip(names, [process.pid, *others], strict=True)))
    try:
        alive = process.poll() is None
        if alive:
            os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        alive = False
    process.communicate()
    patience = time.monotonic() + 30
    while left := [pid for pid in others if Path(f"/proc/{pid}/cmdline").exists()]:
        if time.monotonic() > patience:
            raise RuntimeError(f"{len(left)} processes outlived {name}")
        time.sleep(0.05)
    return name if alive else ""


def main() -> int:
    """Exit code 1 if any run came out differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--a-run", type=int, default=5, help="kills of one run at most")
    parser.add_argument("--longest", type=float, default=1.0, help="seconds of training before a kill, at most")
    given = parser.parse_args()
    rng, wrong = random.Random(0), 0
    for processes in given.processes:
        folder = Path(tempfile.mkdtemp())
        team = ["--gpus", processes] if processes > 1 else []
        finish(folder, *WORDS, *team, "--out", "whole")
        hits: collections.Counter[str] = collections.Counter()
        runs, same = 0, 0
        while hits.total() < given.kills:
            shutil.rmtree(folder / "run", ignore_errors=True)
            for _ in range(given.a_run):
                begun = (folder / "run" / "run.json").exists()
                words = ["--resume", "run", "--no-report"] if begun else [*WORDS, "--out", "run"]
                victim = kill(folder, [*words, *team], rng, given.longest)
                if not victim:
                    break
                hits[victim] += 1
            if '"done"' not in (folder / "run" / "run.json").read_text():
                finish(folder, "--resume", "run", "--no-report", *team)
            runs += 1
            different = differences(folder / "run", folder / "whole")
            same += not different
            if different:
                print(f"  run {runs} differs in {', '.join(different)}", flush=True)
        who = ", ".join(f"{name} {count}" for name, count in sorted(hits.items()))
        print(f"{processes} process(es): {hits.total()} kills ({who}) in {runs} runs", end="; ")
        print(f"{same} of {runs} ended with the bytes of the uninterrupted run", flush=True)
        wrong += runs - same
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
