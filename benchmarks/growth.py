"""How do scores with their intervals, the search for near-duplicates, and whole commands grow with the number of images?

    python benchmarks/growth.py [--what scores near-duplicates commands] [--counts 1000 10000 100000] [--json FILE]

Scores: all of a two-class model, 2,000 bootstrap draws, every image a group of its own. Near-duplicates: keypoints of
synthetic pictures, mixed, with 12 bits of every descriptor turned over, so that no pair is near and many are candidates.
Seconds by the clock and of the processor; memory is the peak of what Python and numpy hold in a run of its own. "Growth" is
the exponent k in seconds ~ n^k between this row and the one above: 1 is linear, 2 is each with each. Commands get generated PNG
files of 64 × 64 pixels in two class folders; they run apart, with an empty cache, and their memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from near_duplicates import blurred_fingerprints
from PIL import Image, ImageFilter

from mammozoo.data.duplicates.fingerprint import Fingerprints, collect, fingerprint
from mammozoo.data.duplicates.matching import near_duplicates
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.scores import score_all

WHAT = ["scores", "near-duplicates", "commands"]
CLASSES = ("benign", "malignant")
COMMANDS = (
    "data check folder --root ROOT",
    "train --dry-run --dataset folder --root ROOT --backbone test_resnet --weights random --set size=64",
    "predict ROOT --json",
)


def outcome(n: int) -> Outcome:
    """A middling classifier without ties."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n).astype(np.intp)
    positive = 1 / (1 + np.exp(-rng.normal(size=n) - labels))
    p = np.stack([1 - positive, positive], axis=1)
    return Outcome(("benign", "malignant"), labels, p, decide(p, 0.5), np.arange(n))


def prints(n: int) -> Fingerprints:
    """Fingerprints of strangers, drawn from those of 100 pictures of blurred noise."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (96, 128), np.uint8)) for _ in range(100)]
    like = collect([fingerprint(np.asarray(image.filter(ImageFilter.GaussianBlur(2)))) for image in noise])
    return blurred_fingerprints(like, n)


def measure(run: Callable[[], object]) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, peak MB."""
    started, before = time.perf_counter(), time.process_time()
    run()
    seconds, busy = time.perf_counter() - started, time.process_time() - before
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, busy, peak / 1e6


def tree(n: int, root: Path) -> None:
    """Pictures of noise, as a PNG file each."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
    for i in range(n):
        noise = Image.fromarray(rng.integers(0, 256, (22, 22), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
        noise.save(root / CLASSES[i % 2] / f"{i:06}.png", compress_level=1)


def measure_command(words: str, root: Path) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, peak MB of `mammozoo WORDS`, in which ROOT stands for the folder of the images."""
    with tempfile.TemporaryDirectory() as cache, (root.parent / "said").open("w+") as said:
        line = [sys.executable, "-m", "mammozoo", *words.replace("ROOT", str(root)).split()]
        started = time.perf_counter()
        process = subprocess.Popen(line, stdout=said, stderr=said, env=os.environ | {"MAMMOZOO_CACHE": cache})
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(Path(said.name).read_text()[-500:])
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT[:2])
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    score_all(outcome(50))  # loads the plugins
    print(f"numpy {np.__version__}, load {load:.1f} before\n")
    print("| what | images | seconds | of the processor | growth | peak memory, MB |\n|---|---|---|---|---|---|")
    rows: list[dict[str, object]] = []

    def add(what: str, n: int, figures: tuple[float, float, float]) -> None:
        seconds, busy, peak = figures
        before = [row for row in rows if row["what"] == what]
        shown = ""
        if before:
            last = before[-1]
            shown = f"{math.log(busy / float(str(last['cpu_seconds']))) / math.log(n / int(str(last['images']))):.2f}"
        rows.append({"what": what, "images": n, "seconds": seconds, "cpu_seconds": busy, "peak_mb": peak})
        print(f"| {what} | {n:,} | {seconds:.2f} | {busy:.2f} | {shown} | {peak:.0f} |", flush=True)

    for n in given.counts:
        if "scores" in given.what:
            given_outcome = outcome(n)
            add("scores", n, measure(lambda: score_all(given_outcome)))  # noqa: B023 - called at once
        if "near-duplicates" in given.what:
            made = prints(n)
            add("near-duplicates", n, measure(lambda: near_duplicates(made)))  # noqa: B023
        if "commands" in given.what:
            with tempfile.TemporaryDirectory() as folder:
                tree(n, root := Path(folder) / "images")
                for words in COMMANDS:
                    add(" ".join(words.split()[:2]), n, measure_command(words, root))
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": rows, "load": load}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
