"""BUS-BRA: tables by column names, official folds, masks, copies with something missing."""

import re
from collections import Counter
from pathlib import Path

import pytest

from mammozoo.data.loaded import open_dataset
from mammozoo.data.splits.make import official_part
from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets.bus_bra import BusBra

from .trees.bus_bra import COLUMNS, bus_bra, write_table
from .trees.drawing import picture, save


@pytest.fixture
def root(tmp_path) -> Path:
    return bus_bra(tmp_path, patients=2)


def table(root: Path) -> Path:
    return root / "BUSBRA" / "bus_data.csv"


def test_rows_become_samples(root: Path) -> None:
    dataset = BusBra(root)
    samples = dataset.samples()
    assert [(s.image, s.label, s.patient, s.masks) for s in samples] == [
        ("Images/bus_0001-l.png", "benign", "1", ("Masks/mask_0001-l.png",)),
        ("Images/bus_0002-l.png", "benign", "2", ("Masks/mask_0002-l.png",)),
        ("Images/bus_0003-l.png", "malignant", "3", ("Masks/mask_0003-l.png",)),
        ("Images/bus_0003-r.png", "malignant", "3", ("Masks/mask_0003-r.png",)),
        ("Images/bus_0004-l.png", "malignant", "4", ("Masks/mask_0004-l.png",)),
    ]
    assert samples[3].meta == {
        "histology": "carcinoma", "birads": "5", "device": "Toshiba Xario", "width": "64", "height": "48", "side": "r",
        "bbox": "[21,16,21,16]", "fold": "4",
    }  # fmt: skip
    assert dataset.box(samples[0]) == (21, 16, 42, 32)  # of the mask
    (note,) = dataset.notes
    assert "2 of the published 1268 benign, 3 of the published 607 malignant" in note


def test_columns_in_any_order_and_case(tmp_path) -> None:
    bus_bra(tmp_path / "a", patients=3)
    bus_bra(tmp_path / "b", patients=3, columns=COLUMNS[::-1])
    other = table(tmp_path / "b")
    header, rest = other.read_text().split("\n", 1)
    other.write_text("\ufeff" + header.upper() + "\n" + rest)
    assert BusBra(tmp_path / "a").samples() == BusBra(tmp_path / "b").samples()


def test_semicolons_and_names_with_suffix(root: Path) -> None:
    before = [(s.image, s.patient, s.meta["fold"]) for s in BusBra(root).samples()]
    for path in (root / "BUSBRA").glob("*.csv"):
        path.write_text(path.read_text().replace("[21,16,21,16]", "21 16 21 16").replace('"', "").replace(",", ";"))
    table(root).write_text(table(root).read_text().replace("-l;", "-l.png;"))
    assert [(s.image, s.patient, s.meta["fold"]) for s in BusBra(root).samples()] == before


def test_nested_as_on_kaggle(root: Path, tmp_path) -> None:
    plain = BusBra(root).samples()
    (root / "BUSBRA").rename(tmp_path / "inner")
    (tmp_path / "BUSBRA").mkdir()
    (tmp_path / "inner").rename(tmp_path / "BUSBRA" / "BUSBRA")
    for folder in (tmp_path, tmp_path / "BUSBRA" / "BUSBRA"):
        assert BusBra(folder).samples() == plain


@pytest.mark.parametrize("folds", [5, 10])
def test_official_folds(tmp_path, folds: int) -> None:
    dataset = open_dataset(f"bus-bra:folds={folds}", bus_bra(tmp_path))
    samples = dataset.samples()
    counts = Counter(official_part(sample) for sample in samples)
    assert set(counts) == {str(fold) for fold in range(1, folds + 1)}
    # The fixture puts patient p into fold p mod k + 1.
    assert all(official_part(sample) == str(int(sample.patient or 0) % folds + 1) for sample in samples)


def test_folds_may_lack_ids_images_or_their_file(root: Path) -> None:
    folds = root / "BUSBRA" / "5-fold-cv.csv"
    write_table(folds, [{"kFold": str(fold)} for fold in (1, 2, 3, 4, 5)])  # by row
    assert [sample.meta["fold"] for sample in BusBra(root).samples()] == ["1", "2", "3", "4", "5"]
    write_table(folds, [{"kFold": "1"}])
    with pytest.raises(UsageError, match=r"5-fold-cv.csv.*kfold in 1 rows"):
        BusBra(root).samples()
    write_table(folds, [{"ID": "bus_0001-l", "kFold": "2"}])
    dataset = BusBra(root)
    assert [official_part(sample) for sample in dataset.samples()] == ["2", None, None, None, None]
    assert "4 images have no official fold" in dataset.notes[-1]
    folds.unlink()
    dataset = BusBra(root)
    assert {official_part(sample) for sample in dataset.samples()} == {None}
    assert "'5-fold-cv.csv'" in dataset.notes[-1]
    with pytest.raises(UsageError, match="folds=3"):
        BusBra(root, folds=3)


def test_what_is_missing_is_said(root: Path) -> None:
    home = root / "BUSBRA"
    (home / "Images" / "bus_0002-l.png").unlink()
    (home / "Masks" / "mask_0001-l.png").unlink()
    save(home / "Images" / "bus_0099-l.png", picture(1))
    dataset = BusBra(root)
    assert len(dataset.samples()) == 4
    names = ("'bus_0002-l'", "'Images/bus_0099-l.png'", "'Images/bus_0001-l.png'")
    assert all(note.startswith("1 ") and name in note for note, name in zip(dataset.notes[1:], names, strict=True))
    for image in (home / "Images").iterdir():
        image.unlink()
    with pytest.raises(NotFoundError, match="its images are not"):
        BusBra(root).samples()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Pathology", "Patology", "no column 'pathology'. Did you mean 'patology'?"),
        ("fibroadenoma,benign", "fibroadenoma,unsure", "line 2: pathology 'unsure' is neither benign nor malignant"),
        ("bus_0002-l", "bus_0001-l", "line 3 lists 'bus_0001-l' again, after line 2"),
        ("bus_0001-l,", "bus_0001-l,x,", "line 2: pathology 'fibroadenoma' is neither"),
        ("(?s)(bus_0004-l,4).*", r"\1", "line 6: pathology '' is neither"),  # truncated
    ],
)
def test_a_table_that_was_changed_is_refused(root: Path, old: str, new: str, message: str) -> None:
    table(root).write_text(re.sub(old, new, table(root).read_text(), count=1))
    with pytest.raises(UsageError, match=re.escape(message)):
        BusBra(root).samples()


def test_a_truncated_table_of_folds(root: Path) -> None:
    folds = root / "BUSBRA" / "5-fold-cv.csv"
    folds.write_text(folds.read_text()[:-4])
    dataset = BusBra(root)
    dataset.samples()
    assert "1 images have no official fold in '5-fold-cv.csv': 'bus_0004-l'" in dataset.notes[-1]
