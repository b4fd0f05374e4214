"""Sensitivity and specificity of patients at the threshold of single images and at one of their own.

A patient has one to eight images. Evidence of an image: d·y + patient + image, the last two with half of the variance each, so
that images have AUC 0.85. Prevalence 0.3; probabilities of images are calibrated. Images and patients choose their threshold
(`closest-to-corner`) on the validation part, patients a temperature too. Means over 200 studies, on 400 test patients each.

    python benchmarks/unit_thresholds.py
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats
from scipy.special import expit

from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.thresholds import choose_threshold
from mammozoo.evaluation.units import at_own_point
from mammozoo.plugins import registry

AREA, PREVALENCE, RULE = 0.85, 0.3, "closest-to-corner"
SCORES = ("sensitivity", "specificity", "brier")


def simulate(rng: np.random.Generator, patients: int) -> Predictions:
    """Images of so many patients, both classes among them."""
    ill = (rng.permutation(patients) < PREVALENCE * patients).astype(np.intp)
    patient = np.repeat(np.arange(patients), rng.integers(1, 9, patients))
    labels, d = ill[patient], np.sqrt(2) * stats.norm.ppf(AREA)
    z = d * labels + np.sqrt(0.5) * (rng.normal(size=patients)[patient] + rng.normal(size=len(patient)))
    positive = expit(d * z - d**2 / 2 + np.log(PREVALENCE / (1 - PREVALENCE)))
    p = np.stack([1 - positive, positive], axis=1)
    names, blank = np.array([f"{i}" for i in patient]), np.full(len(patient), "")
    outcome = Outcome(("benign", "malignant"), labels, p, decide(p, 0.5), patient)
    return Predictions(names, blank, blank, names, blank, outcome, np.full(len(patient), 0.5), {})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--patients", type=int, nargs="+", default=[10, 60], help="of the validation part")
    given = parser.parse_args()
    metrics = [registry().get("metrics", name).value for name in SCORES]
    print(f"| validation patients | aggregate | threshold | {' | '.join(SCORES)} |")
    print("|---|---|---|" + "---:|" * len(SCORES))
    for patients in given.patients:
        for how in ("mean", "max"):
            rng, found = np.random.default_rng(0), []
            for _ in range(given.repetitions):
                val, test = simulate(rng, patients), simulate(rng, 400)
                cut = choose_threshold(RULE, val.outcome.labels, val.outcome.probabilities[:, 1])
                test = test.cut_at(np.full(len(test), cut))
                none = val.take(np.arange(0))
                units = [
                    at_own_point(test, own, "patient", how, rule=RULE, calibrated=True).predictions.outcome
                    for own in (none, val)
                ]
                found.append([[metric(unit) for metric in metrics] for unit in units])
            for name, means in zip(("images'", "own"), np.mean(found, axis=0), strict=True):
                print(f"| {patients} | {how} | {name} | {' | '.join(f'{value:.3f}' for value in means)} |")


if __name__ == "__main__":
    main()
