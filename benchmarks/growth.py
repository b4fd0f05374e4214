"""How do scores with their intervals, and the search for near-duplicates, grow with the number of images?

    python benchmarks/growth.py [--counts 1000 10000 100000] [--json FILE]

Scores: all of a two-class model, 2,000 bootstrap draws, every image a group of its own. Near-duplicates: keypoints of
synthetic pictures, mixed, with 12 bits of every descriptor turned over, so that no pair is near and many are candidates.
Seconds by the clock and of the processor; memory is the peak of what Python and numpy hold in a run of its own. "Growth" is
the exponent k in seconds ~ n^k between this row and the one above: 1 is linear, 2 is each with each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
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


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    score_all(outcome(50))  # loads the plugins
    print(f"numpy {np.__version__}, load {load:.1f} before\n")
    print("| what | images | seconds | of the processor | growth | peak memory, MB |\n|---|---|---|---|---|---|")
    rows: list[dict[str, object]] = []
    for name in ("scores", "near-duplicates"):
        last: tuple[int, float] | None = None
        for n in given.counts:
            if name == "scores":
                given_outcome = outcome(n)
                seconds, busy, peak = measure(lambda o=given_outcome: score_all(o))  # type: ignore[misc]
            else:
                made = prints(n)
                seconds, busy, peak = measure(lambda p=made: near_duplicates(p))  # type: ignore[misc]
            growth = math.log(busy / last[1]) / math.log(n / last[0]) if last else math.nan
            last = n, busy
            rows.append({"what": name, "images": n, "seconds": seconds, "cpu_seconds": busy, "peak_mb": peak})
            shown = "" if math.isnan(growth) else f"{growth:.2f}"
            print(f"| {name} | {n:,} | {seconds:.2f} | {busy:.2f} | {shown} | {peak:.0f} |", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": rows, "load": load}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
