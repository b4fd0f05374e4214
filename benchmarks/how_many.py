"""How many images are enough? The mean width of the 95 % interval of an AUC, for n test images and a share of positive ones.

Simulated test sets as in interval_coverage.py, each image of a patient of its own; the interval is the one that every score has.

    python benchmarks/how_many.py --repetitions 50
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from mammozoo.evaluation.intervals import interval_all
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.plugins import registry

IMAGES = (50, 100, 200, 400, 800)
AREAS = (0.75, 0.85, 0.95)
SHARES = (0.1, 0.3, 0.5)


def width(images: int, share: float, area: float, repetitions: int) -> float:
    """The mean width over `repetitions` test sets."""
    metric, rng = (
        registry().get("metrics", "auc"),
        np.random.default_rng([images, round(100 * share), round(100 * area)]),
    )
    labels = (np.arange(images) < round(share * images)).astype(np.intp)
    widths = []
    for _ in range(repetitions):
        z = np.sqrt(2) * stats.norm.ppf(area) * labels + rng.normal(size=images)
        p = np.stack([1 - stats.norm.cdf(z), stats.norm.cdf(z)], axis=1)
        _, (low, high) = interval_all([metric], Outcome(("0", "1"), labels, p, decide(p, 0.5), np.arange(images)))[
            "auc"
        ]
        widths.append(high - low)
    return float(np.nanmean(widths))


def main() -> None:
    """A row for each AUC and share, a column for each number of images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=50)
    repetitions = parser.parse_args().repetitions
    print(f"| AUC | positive | {' | '.join(f'{n} images' for n in IMAGES)} |\n|---|---|{'---|' * len(IMAGES)}")
    for area in AREAS:
        for share in SHARES:
            cells = " | ".join(f"{width(n, share, area, repetitions):.2f}" for n in IMAGES)
            print(f"| {area} | {share:.0%} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
