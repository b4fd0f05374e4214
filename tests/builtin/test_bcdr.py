"""BCDR-F03: spaces before cells, NaN as text, several outlines of a lesion, a balanced draw."""

from collections import Counter
from pathlib import Path

import pytest

from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets.bcdr import BcdrF03

from .trees.bcdr import HEADER, bcdr_f03, outline_row


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return bcdr_f03(tmp_path_factory.mktemp("bcdr"), patients=10)


def home(root: Path) -> Path:
    return root / "BCDR-F03_dataset" / "BCDR-F03"


def test_cells_are_stripped_and_outlines_of_two_readers_are_one_sample(small: Path) -> None:
    dataset = BcdrF03(small)
    samples = dataset.samples()
    assert Counter(s.label for s in samples) == {"benign": 10, "malignant": 10}
    first = samples[0]
    assert first.image == "patient_1/study_7/img_1_7_1_LCC.tif"
    assert (first.patient, first.lesion, first.box) == ("bcdr-f03-1", "bcdr-f03-1-1", (9, 22, 29, 46))
    assert first.meta == {"side": "left", "view": "CC", "age": "61", "findings": "nodule"}
    mask = dataset.mask(first)
    assert mask.shape == (72, 56) and mask.sum() == 20 * 24
    assert dataset.box(first) == first.box
    assert any("10 of the published 426 benign, 10 of the published 310 malignant" in note for note in dataset.notes)
    assert samples == BcdrF03(home(small)).samples()
    (sample,) = [s for s in dataset.samples() if s.image.startswith("patient_3/") and s.image.endswith("LCC.tif")]
    assert sample.box == (8, 22, 31, 48)  # (11, 22, 31, 46) and (8, 24, 29, 48)
    mask = dataset.mask(sample)
    assert mask.sum() == 20 * 24 + 21 * 24 - 18 * 22
    assert any(note.startswith("2 further outlines") for note in dataset.notes)


def test_a_second_lesion_on_an_image_is_another_sample(tmp_path) -> None:
    root = bcdr_f03(tmp_path, patients=2)
    name = "patient_1/study_7/img_1_7_1_LCC.tif"
    with (home(root) / "bcdr_f03_outlines.csv").open("a") as handle:
        handle.write(outline_row(1, 99, 5, 2, name, "Benign", (2, 2, 8, 8)) + "\n")
    found = {s.image: (s.label, s.box) for s in BcdrF03(root).samples() if s.image.startswith(name)}
    assert found == {f"{name}#lesion-1": ("malignant", (9, 22, 29, 46)), f"{name}#lesion-99": ("benign", (2, 2, 8, 8))}


def test_the_balanced_draw_hangs_on_its_seed_alone(small: Path) -> None:
    drawn = BcdrF03(small, balanced=4)
    samples = drawn.samples()
    assert Counter(s.label for s in samples) == {"benign": 4, "malignant": 4}
    assert samples == BcdrF03(small, balanced=4, seed=0).samples()
    assert samples != BcdrF03(small, balanced=4, seed=1).samples()
    assert [s.image for s in samples] == sorted(s.image for s in samples)
    assert any("4 samples" in note and "seed 0" in note for note in drawn.notes)
    with pytest.raises(UsageError, match="only 10 benign, 10 malignant"):
        BcdrF03(small, balanced=11).samples()


@pytest.mark.parametrize(
    ("lesion", "label", "more", "says"),
    [
        (1, "Benign", "", "is benign, bcdr-f03-1 here, and malignant"), (8, "Perhaps", "", "'Perhaps' is neither"),
        (8, "Benign", " 7", "outline"),
    ],
)  # fmt: skip
def test_rows_that_make_no_sense_are_named(tmp_path, lesion: int, label: str, more: str, says: str) -> None:
    root = bcdr_f03(tmp_path, patients=1)
    with (home(root) / "bcdr_f03_outlines.csv").open("a") as handle:
        handle.write(outline_row(1, lesion, 9, 2, "a/img_1_7_1_LCC.tif", label, (1, 1, 5, 5)) + more + "\n")
    with pytest.raises(UsageError, match=f"line 4: .*{says}"):
        BcdrF03(root).samples()


def test_missing_images_and_tables_are_told(tmp_path) -> None:
    root = bcdr_f03(tmp_path, patients=2)
    next(home(root).rglob("img_2_8_1_LO.tif")).unlink()
    dataset = BcdrF03(root)
    assert len(dataset.samples()) == 3
    assert any(note.startswith("1 ") and "'img_2_8_1_LO.tif'" in note for note in dataset.notes)
    for path in home(root).rglob("*.tif"):
        path.unlink()
    with pytest.raises(NotFoundError, match="None of the 4 images"):
        BcdrF03(root).samples()
    (home(root) / "bcdr_f03_outlines.csv").write_text(HEADER.replace("lw_x_points", "x"))
    with pytest.raises(UsageError, match="no column 'lw_x_points'"):
        BcdrF03(root).samples()
