"""Doubted labels: the rule of confident learning, on examples worked out by hand and on noise that was planted."""

import numpy as np
import pytest

from mammozoo.data.dataset import Sample
from mammozoo.data.quality.label_errors import LabelError, OutOfFold, doubted, label_errors
from mammozoo.errors import UsageError


def test_the_rule_on_an_example_worked_out_by_hand() -> None:
    """Thresholds: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.6 + 0.35) / 3 = 0.55."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.9, 0.7, 0.6, 0.35])
    p = np.stack([1 - p, p], axis=1)
    assert doubted(labels, p) == [(2, 1), (5, 0)]  # margins -0.8 and -0.3
    p[5] = 0.55, 0.45  # another class is the most probable, but below its threshold
    assert doubted(labels, p) == [(2, 1)]


def test_of_several_classes_that_are_reached_the_most_probable_counts() -> None:
    labels = np.array([0, 1, 2, 2])
    p = np.array([[0.4, 0.3, 0.3], [0.3, 0.35, 0.35], [0.0, 0.0, 1.0], [0.41, 0.39, 0.2]])
    assert doubted(labels, p) == [(3, 0)]
    assert doubted(np.zeros(4, int), p) == []  # no image has the label of another class


@pytest.mark.parametrize("classes", [2, 3])
def test_planted_noise_is_found_first(classes: int) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, classes, 600)
    raw = np.exp(2.5 * np.eye(classes)[true] + rng.normal(size=(600, classes)))
    p, labels = raw / raw.sum(axis=1, keepdims=True), true.copy()
    labels[:40] = (labels[:40] + 1) % classes
    found = doubted(labels, p)
    first = [place for place, _ in found[:30]]
    assert sum(place < 40 for place in first) >= 24
    assert all(labels[place] != other for place, other in found)
    margins = [p[place, labels[place]] - p[place].max() for place, _ in found]
    assert margins == sorted(margins)


def test_only_images_with_probabilities_count_and_a_corrected_label_is_doubted_no_more() -> None:
    def score(label: str) -> tuple[list[LabelError], int]:
        samples = [Sample(f"{i}.png", "tumour" if i > 2 else "normal") for i in range(6)]
        samples[5] = Sample("5.png", label)
        samples += [Sample("new.png", "normal"), Sample("6.png", "artefact")]
        p = {f"{i}.png": np.array([0.9, 0.1] if i in (0, 1, 2, 5) else [0.1, 0.9]) for i in range(7)}
        scores = OutOfFold("runs/first", ("normal", "lesion=tumour"), p)
        return label_errors(samples, ("normal", "tumour", "artefact"), scores, "clinic")

    found, scored = score("tumour")
    assert scored == 6
    assert [(one.image, one.label, one.suggested) for one in found] == [("5.png", "lesion", "normal")]
    assert found[0].margin == pytest.approx(-0.8) and "labelled lesion (0.100 out of fold)" in found[0].text
    assert score("normal") == ([], 6)
    with pytest.raises(UsageError, match="has tested 0 images, and none of them is in 'clinic'"):
        label_errors([Sample("a", "x")], ("x", "y"), OutOfFold("runs/first", ("x", "y"), {}), "clinic")
