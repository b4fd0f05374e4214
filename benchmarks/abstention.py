"""Errors among the images that `predict --abstain` decides and leaves open, on the test parts of a run.

    python benchmarks/abstention.py RUN

Each fold's band is chosen on its validation part, from the run's predictions.csv.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.evaluation.abstention import abstains, choose_abstention


def _probabilities(rows: list[dict[str, str]]) -> npt.NDArray[np.float64]:
    return np.array([[float(value) for key, value in row.items() if key.startswith("p_")] for row in rows])


def main() -> None:
    """Print one line for what was decided and one for what was not."""
    with (Path(sys.argv[1]) / "predictions.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    undecided, wrong = [], []
    for fold in dict.fromkeys(row["fold"] for row in rows):
        val, test = ([row for row in rows if row["fold"] == fold and row["part"] == part] for part in ("val", "test"))
        cut = float(val[0]["threshold"] or 0.5)
        band = choose_abstention(_probabilities(val), cut)
        undecided += list(abstains(_probabilities(test), cut, band))
        wrong += [row["label"] != row["decision"] for row in test]
    for name, chosen in (("decided", ~np.array(undecided)), ("left open", np.array(undecided))):
        errors, n = int(np.array(wrong)[chosen].sum()), int(chosen.sum())
        print(f"{name}: {n} of {len(wrong)} images, {errors} wrong ({errors / max(n, 1):.0%})")


if __name__ == "__main__":
    main()
