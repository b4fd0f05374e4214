"""What choosing by one lucky validation part costs, simulated: nested folds and repeats.

An image has a label and a difficulty u that all models share; a fit gives it the evidence d·y + √0.7·u + √0.3·e with an
error e of its own. Nine points of a grid differ in d (1.0 to 1.4), fits of one point by chance (SD 0.1). A fit is validated
on images of its own, and tested on 4,000.

`one fit`      the fit with the highest validation AUC of all fits reports, be it an inner fold or a repeat
`point, mean`  the point with the highest mean validation AUC; its inner models predict by their mean probability, or
               its repeats report one by one

    python benchmarks/choices.py
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import expit

POINTS = np.linspace(1.0, 1.4, 9)
FITS = 5
TEST = 4000
Values = npt.NDArray[np.float64]


def evidence(rng: np.random.Generator, d: Values, labels: npt.NDArray[np.intp]) -> Values:
    """(fits, N) evidence of fits of strength `d` (fits,) on the same images."""
    shared, own = rng.normal(size=len(labels)), rng.normal(size=(len(d), len(labels)))
    return d[:, None] * labels + np.sqrt(0.7) * shared + np.sqrt(0.3) * own


def auc(labels: npt.NDArray[np.intp], score: Values) -> float:
    """The area under the ROC curve, without ties."""
    positive = int(labels.sum())
    ranks = stats.rankdata(score)[labels == 1].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def once(rng: np.random.Generator, size: int) -> dict[str, float]:
    """The numbers of one simulated choice, with validation parts of `size` images."""
    d = POINTS[:, None] + 0.1 * rng.normal(size=(len(POINTS), FITS))
    val = np.empty_like(d)
    for place in np.ndindex(*d.shape):
        labels = (np.arange(size) % 3 == 0).astype(np.intp)
        val[place] = auc(labels, evidence(rng, d[place][None], labels)[0])
    point, fit = np.unravel_index(val.argmax(), val.shape)
    chosen = int(val.mean(axis=1).argmax())
    labels = (np.arange(TEST) % 3 == 0).astype(np.intp)
    lucky = auc(labels, evidence(rng, d[point, fit][None], labels)[0])
    models = evidence(rng, d[chosen], labels)
    each = [auc(labels, one) for one in models]
    nearest = int(np.abs(val[chosen] - val[chosen].mean()).argmin())
    return {
        "one fit: validation": float(val.max()), "one fit: test": lucky, "one fit: d of its point": POINTS[point],
        "point: validation": float(val[chosen].mean()), "point: repeats, mean": float(np.mean(each)),
        "point: nearest model": each[nearest], "point: inner models together": auc(labels, expit(models).mean(axis=0)),
        "point: d": POINTS[chosen],
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    given, sizes = parser.parse_args(), (30, 100, 300)
    found = {}
    for size in sizes:
        rng = np.random.default_rng(size)
        found[size] = [once(rng, size) for _ in range(given.repetitions)]
    print(f"| mean of {given.repetitions} | {' | '.join(f'{size} validation images' for size in sizes)} |")
    print("|---|" + "---:|" * len(sizes))
    for name in found[sizes[0]][0]:
        cells = [f"{np.mean([one[name] for one in found[size]]):.3f}" for size in sizes]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
