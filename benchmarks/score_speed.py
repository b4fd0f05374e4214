"""How long do all scores with their intervals take, and how much memory beyond the predictions?

Independent images, each a group of its own, which is the most work. Times are the best of three runs on as many
threads as the environment allows (OMP_NUM_THREADS), by the clock and of the processor: they differ where others
compute beside. Memory is the peak of what Python and numpy hold in one more run.

    python benchmarks/score_speed.py --json speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import tracemalloc
from pathlib import Path

import numpy as np

from mammozoo.evaluation.intervals import DRAWS
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.scores import score_all


def simulate(n: int, classes: int) -> Outcome:
    """A middling classifier without ties."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n).astype(np.intp)
    raw = np.exp(rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels])
    p = raw / raw.sum(axis=1, keepdims=True)
    return Outcome(tuple("abcdefgh"[:classes]), labels, p, decide(p, 0.5), np.arange(n))


def processor() -> str:
    """Its name, where the system tells."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def measure(outcome: Outcome, runs: int) -> dict[str, float]:
    """Seconds, seconds of the processor, MB and number of scores."""
    seconds, busy = [], []
    for _ in range(runs):
        started, before = time.perf_counter(), time.process_time()
        scores = score_all(outcome)
        seconds.append(time.perf_counter() - started)
        busy.append(time.process_time() - before)
    tracemalloc.start()
    score_all(outcome)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"seconds": min(seconds), "cpu_seconds": min(busy), "peak_mb": peak / 1e6, "scores": len(scores)}


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", f"up to {os.cpu_count()}")
    score_all(simulate(50, 2))  # loads the plugins
    rows = []
    print(f"{processor()}, threads: {threads}, numpy {np.__version__}, {DRAWS} draws")
    print("| classes | predictions | scores | seconds | of the processor | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for classes in (2, 3):
        for n in (1_000, 10_000, 100_000):
            row = measure(simulate(n, classes), given.runs)
            rows.append({"classes": classes, "n": n, **row})
            print(
                f"| {classes} | {n:,} | {row['scores']} | {row['seconds']:.2f} | {row['cpu_seconds']:.2f} "
                f"| {row['peak_mb']:.0f} |",
                flush=True,
            )
    if given.json is not None:
        content = {"processor": processor(), "threads": threads, "draws": DRAWS, "rows": rows}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
