"""How often does `compare` find a difference between equal models? At 5 % it may do so in one comparison in twenty.

Test sets are those of `interval_coverage.py`: lesions on one to four near-identical images, 30 % positive, AUC 0.85 or 0.97.
Half of the variance that the images of a lesion share is of the lesion, and both models see it; the other half and the
5 % of a single image are each model's own. So the two models are equally good, and differ on every test set. Compared
with it: whether a BCa interval of the same draws excludes 0, and the textbook's DeLong and McNemar, to which each image is
independent.

    python benchmarks/comparison_size.py --json size.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit

from mammozoo.evaluation.compare import BOOTSTRAP, DELONG, MCNEMAR, Contender, compare
from mammozoo.evaluation.intervals import DRAWS, bca, resample, smallest_class
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.paired_tests import delong, mcnemar
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.resampling import draw, leave_out
from mammozoo.plugins import registry

PREVALENCE, SHARED, MOST = 0.3, 0.95, 4
GROUPS, AREAS = (40, 100), (0.85, 0.97)
TESTS = (BOOTSTRAP, DELONG, MCNEMAR, "BCa interval", "DeLong by image", "McNemar by image")


def simulate(rng: np.random.Generator, groups: int, area: float) -> list[Outcome]:
    """The outcomes of two equal models on `groups` lesions of one to `MOST` images each."""
    group = np.repeat(np.arange(groups), rng.integers(1, MOST + 1, groups))
    label = (rng.random(groups) < PREVALENCE).astype(np.intp)[group]
    shift, lesion = np.sqrt(2) * stats.norm.ppf(area), rng.normal(size=groups)
    outcomes = []
    for _ in range(2):
        own = (lesion + rng.normal(size=groups)) / np.sqrt(2)
        z = shift * label + np.sqrt(SHARED) * own[group] + np.sqrt(1 - SHARED) * rng.normal(size=len(group))
        p = expit(z - shift / 2)
        two = np.stack([1 - p, p], axis=1)
        outcomes.append(Outcome(("negative", "positive"), label, two, decide(two, 0.5), group))
    return outcomes


def rejected(outcomes: list[Outcome]) -> list[bool]:
    """Whether each of the `TESTS` finds a difference at 5 %; a test that gives no p does not."""
    n, auc = len(outcomes[0]), registry().get("metrics", "auc")
    names, blank, test = np.array([f"{i:05d}" for i in range(n)]), np.full(n, ""), np.full(n, "test")
    contenders = [
        Contender(name, Predictions(names, blank, test, blank, blank, outcome, np.full(n, 0.5), {}))
        for name, outcome in zip("ab", outcomes, strict=True)
    ]
    p = {result.test: result.p for result in compare(contenders, "auc")}
    draws, without = (
        np.subtract(*(resample([auc], outcome, chunks(outcome))["auc"] for outcome in outcomes))
        for chunks in (lambda outcome: draw(outcome, DRAWS, 0), lambda outcome: leave_out(outcome, 0))
    )
    low, high = bca(draws, auc.value(outcomes[0]) - auc.value(outcomes[1]), without, smallest_class(outcomes[0]))
    single = [Outcome(o.classes, o.labels, o.probabilities, o.decisions, np.arange(n)) for o in outcomes]
    difference, error = delong(single[:1], single[1:])
    right = [(outcome.decisions == outcome.labels).astype(np.intp) for outcome in outcomes]
    return [
        *((found := p.get(name)) is not None and found < 0.05 for name in (BOOTSTRAP, DELONG, MCNEMAR)),
        low > 0 or high < 0,
        error > 0 and 2 * stats.norm.sf(abs(difference) / error) < 0.05,
        mcnemar(right[0] - right[1]) < 0.05,
    ]


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    print("| AUC | groups |", " | ".join(TESTS), "|")
    print("|---" * (2 + len(TESTS)) + "|")
    rows = []
    for area in AREAS:
        for groups in GROUPS:
            rng = np.random.default_rng([given.seed, round(100 * area), groups])
            found = [rejected(simulate(rng, groups, area)) for _ in range(given.repetitions)]
            shares = np.mean(found, axis=0).tolist()
            print(f"| {area} | {groups} |", " | ".join(f"{100 * share:.1f}" for share in shares), "|", flush=True)
            rows.append({"auc": area, "groups": groups, **dict(zip(TESTS, shares, strict=True))})
    if given.json is not None:
        content = {"repetitions": given.repetitions, "seed": given.seed, "rows": rows}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
