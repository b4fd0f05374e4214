"""Errors among the images that `predict --abstain` decides and leaves open, on the test parts of a run.

    python benchmarks/abstention.py RUN

Each fold's band is chosen on its validation part, from the run's predictions.csv.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.thresholds import abstains, choose_abstention


def main() -> None:
    """Print one line for what was decided and one for what was not."""
    predictions = read_predictions(Path(sys.argv[1]))
    undecided, wrong = [], []
    for fold in np.unique(predictions.of("test").folds):
        rows = predictions.take(np.flatnonzero(predictions.folds == fold))
        val, test = rows.of("val"), rows.of("test").outcome
        cut = float(np.nan_to_num(val.cuts[0], nan=0.5))
        band = choose_abstention(val.outcome.probabilities, cut)
        undecided += abstains(test.probabilities, cut, band).tolist()
        wrong += (test.labels != test.decisions).tolist()
    for name, chosen in (("decided", ~np.array(undecided)), ("left open", np.array(undecided))):
        errors, n = int(np.array(wrong)[chosen].sum()), int(chosen.sum())
        print(f"{name}: {n} of {len(wrong)} images, {errors} wrong ({errors / max(n, 1):.0%})")


if __name__ == "__main__":
    main()
