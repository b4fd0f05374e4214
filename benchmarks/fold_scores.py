"""AUC of five folds, pooled and as their mean, when each fold's model has a temperature and an offset of its own.

Test sets as in interval_coverage.py: groups of one to four near-identical images, prevalence 0.3, every model of AUC 0.85. A
fold's log odds are a·z + b. log a is drawn with SD 0.5, b with the SD of the first column. The order of the images within a
fold, and so its AUC, depends on neither. Coverage is the share of 95 % intervals that hold 0.85.

    python benchmarks/fold_scores.py
"""

from __future__ import annotations

import argparse

import numpy as np
from interval_coverage import simulate
from scipy.special import expit, logit

from mammozoo.evaluation.intervals import interval_all
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.seeds import mean_score
from mammozoo.plugins import registry

AREA = 0.85
FOLDS = 5
OFFSETS = (0.0, 0.5, 1.0)


def fold(rng: np.random.Generator, number: int, groups: int, spread: float) -> Outcome:
    """The test part of one fold, by its own model."""
    one = simulate(rng, groups, AREA)
    odds = logit(one.probabilities[:, 1].clip(1e-12, 1 - 1e-12))
    positive = expit(np.exp(0.5 * rng.normal()) * odds + spread * rng.normal())
    p = np.stack([1 - positive, positive], axis=1)
    return Outcome(one.classes, one.labels, p, decide(p, 0.5), one.groups + number * groups)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--groups", type=int, default=40, help="of each fold")
    given = parser.parse_args()
    auc = registry().get("metrics", "auc")
    print("| SD of the offset | pooled AUC | coverage | mean AUC of the folds | coverage | width |")
    print("|---|---:|---:|---:|---:|---:|")
    for spread in OFFSETS:
        rng, pooled, means = np.random.default_rng(0), [], []
        for seed in range(given.repetitions):
            folds = [fold(rng, number, given.groups, spread) for number in range(FOLDS)]
            columns = ("labels", "probabilities", "decisions", "groups")
            joined = {name: np.concatenate([getattr(one, name) for one in folds]) for name in columns}
            value, bounds = interval_all([auc], Outcome(folds[0].classes, **joined), seed=seed)["auc"]
            pooled.append((value, *bounds))
            means.append(mean_score(auc, None, [folds], seed=seed)[:3])
        cells = []
        for found in (np.array(pooled, float), np.array(means, float)):
            value, low, high = found.T
            cells += [f"{value.mean():.3f}", f"{100 * np.mean((low <= AREA) & (high >= AREA)):.1f} %"]
        print(f"| {spread:g} | {' | '.join(cells)} | {np.mean(high - low):.3f} |")


if __name__ == "__main__":
    main()
