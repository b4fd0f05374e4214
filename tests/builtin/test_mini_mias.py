"""mini-MIAS: the y axis from below, several lines an image, notes in place of circles, headers of mirrors."""

from pathlib import Path

import numpy as np
import pytest

from mammozoo.errors import UsageError
from mammozoo_datasets.mini_mias import MiniMias, read_info

from .trees.mini_mias import KAGGLE_HEADER, SIDE, mini_mias

INFO = [
    "mdb001 G CIRC B 30 100 10",
    "mdb002 G NORM",
    "mdb003 D CIRC B 30 40 5",
    "mdb003 D MISC M 90 20 8 ",
    "mdb004 F CALC M *NOTE 3*",
]


@pytest.fixture
def small(tmp_path) -> Path:
    return mini_mias(tmp_path, info=INFO)


def test_an_image_has_the_class_of_its_worst_finding(small: Path) -> None:
    dataset = MiniMias(small)
    samples = dataset.samples()
    assert [(s.image, s.label, s.patient) for s in samples] == [
        ("mdb001.pgm", "benign", "mias-001"),
        ("mdb002.pgm", "normal", "mias-001"),
        ("mdb003.pgm", "malignant", "mias-002"),
        ("mdb004.pgm", "malignant", "mias-002"),
    ]
    assert samples[2].meta == {"tissue": "dense-glandular", "abnormality": "CIRC MISC", "side": "R"}
    assert [s.meta["side"] for s in samples] == ["R", "L", "R", "L"]
    assert dataset.read(samples[0]).shape == (SIDE, SIDE)
    (note,) = dataset.notes
    assert note.startswith("4 images") and "322" in note


def test_y_counts_from_the_lower_edge(small: Path) -> None:
    dataset = MiniMias(small)
    first, normal, both, noted = dataset.samples()
    assert dataset.box(first) == (20, SIDE - 100 - 10, 41, SIDE - 100 + 11)
    mask = dataset.mask(first)
    assert mask[28, 30] and mask[18, 30] and not mask[17, 30]
    assert mask.sum() == pytest.approx(np.pi * 100, rel=0.03)
    assert dataset.mask(normal) is None and dataset.mask(noted) is None
    several = dataset.mask(both)
    assert several[SIDE - 40, 30] and several[SIDE - 20, 90]
    assert both.box is None and dataset.box(both) == (25, SIDE - 45, 99, SIDE - 11)


def test_lesions_are_samples_of_their_own(small: Path) -> None:
    dataset = MiniMias(small, unit="lesion")
    assert dataset.classes == ("benign", "malignant")
    samples = dataset.samples()
    assert [(s.image, s.label, s.lesion) for s in samples] == [
        ("mdb001.pgm", "benign", "mdb001-1"),
        ("mdb003.pgm", "benign", "mdb003-1"),
        ("mdb003.pgm#2", "malignant", "mdb003-2"),
    ]
    assert samples[2].box == (82, SIDE - 28, 99, SIDE - 11)
    mask = dataset.mask(samples[2])
    assert mask[SIDE - 20, 90] and not mask[SIDE - 40, 30]
    assert np.array_equal(dataset.read(samples[1]), dataset.read(samples[2]))
    assert any("1 normal images and 1 abnormalities" in note for note in dataset.notes)


def test_mirrors_are_read_alike_and_what_lacks_the_other_is_told(small: Path, tmp_path) -> None:
    other = mini_mias(tmp_path / "mirror", KAGGLE_HEADER, INFO)
    assert MiniMias(other).samples() == MiniMias(small).samples() == MiniMias(small / "all-mias").samples()
    (small / "all-mias" / "mdb001.pgm").rename(small / "all-mias" / "mdb009.pgm")
    dataset = MiniMias(small)
    assert [s.image for s in dataset.samples()] == ["mdb002.pgm", "mdb003.pgm", "mdb004.pgm"]
    absent, unlisted = dataset.notes[-2:]
    assert "'mdb001'" in absent and "'mdb009.pgm'" in unlisted


def test_a_line_that_breaks_the_form_is_named(tmp_path) -> None:
    for line in ("mdb001 G CIRC B 535 425", "mdb001 G CIRC X 535 425 197", "mdb001 G NORM B", "mdb001 G CIRC"):
        (tmp_path / "Info.txt").write_text(f"Some text\n{line}\n")
        with pytest.raises(UsageError, match="line 2"):
            read_info(tmp_path / "Info.txt")
