"""From images to patients, by hand."""

import numpy as np
import pytest

from mammozoo.errors import UsageError
from mammozoo.evaluation.evaluate import FEWEST, aggregate, by_subgroup
from mammozoo.evaluation.outcome import Outcome

from ..helpers import outcome

CUTS = np.full(5, 0.5)


IMAGES = outcome([0, 1, 0, 0, 1], [0.2, 0.9, 0.4, 0.6, 0.3], [7, 7, 8, 9, 9])
PATIENTS = np.array(["A", "A", "B", "C", "C"])


@pytest.mark.parametrize(
    ("how", "expected", "decisions"),
    [
        ("mean", [0.55, 0.4, 0.45], [1, 0, 0]),
        ("max", [0.9, 0.4, 0.6], [1, 0, 1]),
        ("noisy-or", [0.92, 0.4, 0.72], [1, 0, 1]),
    ],
)
def test_patients(how: str, expected: list[float], decisions: list[int]) -> None:
    joined = aggregate(IMAGES, PATIENTS, CUTS, how)
    assert joined.probabilities[:, 1] == pytest.approx(expected)
    assert joined.decisions.tolist() == decisions
    assert joined.labels.tolist() == [1, 0, 1], "one malignant image makes a malignant patient"
    assert joined.groups.tolist() == [7, 8, 9]


def test_three_classes_and_unknown_patients() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    o = Outcome(("a", "b", "c"), np.array([1, 1, 2]), p, p.argmax(1), np.arange(3))
    joined = aggregate(o, np.array(["P", "P", "Q"]), np.full(3, np.nan), "mean")
    assert joined.probabilities == pytest.approx(np.array([[0.4, 0.25, 0.35], [0.2, 0.5, 0.3]]))
    assert joined.decisions.tolist() == [0, 1] and joined.labels.tolist() == [1, 2]
    with pytest.raises(UsageError, match="two classes"):
        aggregate(o, np.array(["P", "P", "Q"]), np.full(3, np.nan), "max")
    with pytest.raises(UsageError, match="'P' has images of b and c"):
        aggregate(o, np.array(["P", "Q", "P"]), np.full(3, np.nan), "mean")
    joined = aggregate(IMAGES, np.array(["", "", "B", "C", "C"]), CUTS, "max")
    assert joined.probabilities[:, 1] == pytest.approx([0.2, 0.9, 0.4, 0.6])
    with pytest.raises(UsageError, match="name no such unit"):
        aggregate(IMAGES, np.array([""] * 5), CUTS, "mean")
    joined = aggregate(IMAGES, PATIENTS, np.array([0.2, 0.2, 0.3, 0.8, 0.8]), "max")
    assert joined.decisions.tolist() == [1, 1, 0]


def test_small_subgroups_are_not_scored() -> None:
    n = 3 * FEWEST
    o = outcome([0, 1] * (n // 2), [0.3, 0.7] * (n // 2), [*range(2 * FEWEST), *[99] * FEWEST])
    parts = by_subgroup(o, np.array(["GE"] * (2 * FEWEST) + [""] * FEWEST))
    assert [(part.value, part.n, part.groups) for part in parts] == [
        ("unknown", FEWEST, 1),
        ("GE", 2 * FEWEST, 2 * FEWEST),
    ]
    assert parts[0].scores is None, "ten images of one patient are one group"
    assert parts[1].scores is not None and parts[1].scores["auc"].value == 1.0
