"""How often does a 95 % interval hold the truth? Simulated test sets, scored by group and, for contrast, by image.

A group is a lesion that is seen on one to four near-identical images. Its label is drawn at the prevalence; the
evidence z of its images is normal with mean μ for the positive class and 0 for the other, variance 1, of which 95 %
is the group's and 5 % the image's. μ = √2 Φ⁻¹(AUC) gives the AUC. The probability is that of label 1 given z but
with doubled log odds, so that the model is too sure and the calibration error is not 0; 0.3 and more is positive.
The truth is the score of two million independent images.

    python benchmarks/interval_coverage.py --json coverage.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from mammozoo.evaluation.intervals import DRAWS, interval_all
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.resampling import Values
from mammozoo.plugins import registry

PREVALENCE = 0.3
THRESHOLD = 0.3
SHARED = 0.95  # of the variance, between images of one group
GROUPS = (40, 100, 300)
AREAS = (0.85, 0.97)
TRUTH = 2_000_000


@dataclass(frozen=True)
class Row:
    """One score in one setting: share of intervals that hold `truth` and their mean width, by group and by image."""

    auc: float
    groups: int
    score: str
    truth: float
    bias: float
    coverage: float
    width: float
    naive_coverage: float
    naive_width: float
    undefined: int


def simulate(rng: np.random.Generator, groups: int, area: float, *, single: bool = False) -> Outcome:
    """A test set of `groups` groups; `single` gives each one image."""
    shift = np.sqrt(2) * stats.norm.ppf(area)
    sizes = np.ones(groups, int) if single else rng.integers(1, 5, groups)
    group = np.repeat(np.arange(groups), sizes)
    label = (rng.random(groups) < PREVALENCE).astype(np.intp)[group]
    noise = rng.normal(size=len(group))
    z = shift * label + np.sqrt(SHARED) * rng.normal(size=groups)[group] + np.sqrt(1 - SHARED) * noise
    positive = expit(2 * (shift * z - shift**2 / 2 + logit(PREVALENCE)))
    p = np.stack([1 - positive, positive], axis=1)
    return Outcome(("negative", "positive"), label, p, decide(p, THRESHOLD), group)


def true_values(metrics: list[Metric], area: float, seed: int) -> Values:
    """Each score of so many images that chance is gone."""
    whole = simulate(np.random.default_rng(seed), TRUTH, area, single=True)
    return np.array([metric.value(whole) for metric in metrics])


def cover(metrics: list[Metric], truth: Values, groups: int, area: float, repetitions: int, seed: int) -> list[Row]:
    """The rows of one setting."""
    rng = np.random.default_rng([seed, groups, round(100 * area)])
    found, values = np.full((2, repetitions, len(metrics), 2), np.nan), np.full((repetitions, len(metrics)), np.nan)
    for i in range(repetitions):
        outcome = simulate(rng, groups, area)
        by_image = dataclasses.replace(outcome, groups=np.arange(len(outcome)))
        for kind, view in enumerate((outcome, by_image)):
            scores = interval_all(metrics, view, seed=i)
            values[i] = [scores[metric.name][0] for metric in metrics]
            found[kind, i] = [scores[metric.name][1] for metric in metrics]
    low, high = found[..., 0], found[..., 1]
    defined = np.isfinite(low)
    held = np.where(defined, (low <= truth) & (truth <= high), np.nan)
    (coverage, naive), (width, naive_width) = np.nanmean(held, axis=1), np.nanmean(high - low, axis=1)
    return [
        Row(
            area,
            groups,
            metric.name,
            *(
                round(float(x), 4)
                for x in (
                    truth[m],
                    np.nanmean(values[:, m]) - truth[m],
                    coverage[m],
                    width[m],
                    naive[m],
                    naive_width[m],
                )
            ),
            undefined=int((~defined[0, :, m]).sum()),
        )
        for m, metric in enumerate(metrics)
    ]


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    metrics = [item.value for item in registry().items("metrics").values()]
    started = time.perf_counter()
    rows: list[Row] = []
    print("| AUC | groups | score | truth | bias | by group | width | by image | width | undefined |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for area in AREAS:
        truth = true_values(metrics, area, given.seed)
        for groups in GROUPS:
            for row in cover(metrics, truth, groups, area, given.repetitions, given.seed):
                rows.append(row)
                print(
                    f"| {row.auc} | {row.groups} | {row.score} | {row.truth:.3f} | {row.bias:+.3f} "
                    f"| {row.coverage:.1%} | {row.width:.3f} | {row.naive_coverage:.1%} | {row.naive_width:.3f} "
                    f"| {row.undefined} |"
                )
    seconds = time.perf_counter() - started
    print(f"{given.repetitions} test sets a setting, {DRAWS} draws each, {seconds:.0f} s", file=sys.stderr)
    if given.json is not None:
        content = {
            "repetitions": given.repetitions,
            "draws": DRAWS,
            "seed": given.seed,
            "prevalence": PREVALENCE,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
