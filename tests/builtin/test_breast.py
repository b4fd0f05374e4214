"""BrEaST: a workbook, one image a patient, the tumour's mask apart from what else is outlined."""

import pytest

from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets.breast_lesions import Breast

from .trees.breast import COLUMNS, WORKBOOK, breast, write_workbook

HOME = "BrEaST-Lesions_USG-images_and_masks"


def test_rows_become_samples(tmp_path) -> None:
    dataset = Breast(breast(tmp_path, benign=3, malignant=1, normal=1))
    samples = dataset.samples()
    assert [(s.image, s.label, s.patient, s.masks) for s in samples] == [
        (f"{HOME}/case001.png", "benign", "1", (f"{HOME}/case001_tumor.png",)),
        (f"{HOME}/case002.png", "benign", "2", (f"{HOME}/case002_tumor.png",)),
        (f"{HOME}/case003.png", "benign", "3", (f"{HOME}/case003_tumor.png",)),
        (f"{HOME}/case004.png", "malignant", "4", (f"{HOME}/case004_tumor.png",)),
        (f"{HOME}/case005.png", "normal", "5", ()),
    ]
    assert samples[3].meta == {
        "pixel_size": "0.007", "age": "44", "margin": "circumscribed", "birads": "4c",
        "mask_other_filename": f"{HOME}/case004_other1.png;{HOME}/case004_other2.png",
    }  # fmt: skip
    # The mask is the tumour's alone.
    mask = dataset.mask(samples[3])
    assert mask.sum() == 16 * 21
    assert dataset.mask(samples[4]) is None
    (note,) = dataset.notes
    assert "3 of the published 154 benign, 1 of the published 98 malignant, 1 of the published 4 normal" in note


def test_what_is_missing_is_said(tmp_path) -> None:
    breast(tmp_path, benign=2, malignant=2, normal=0)
    (tmp_path / HOME / "case001.png").unlink()
    (tmp_path / HOME / "case002_tumor.png").unlink()
    dataset = Breast(tmp_path)
    assert [(s.patient, len(s.masks)) for s in dataset.samples()] == [("2", 0), ("3", 1), ("4", 1)]
    image, mask = dataset.notes[1:]
    assert "'case001.png'" in image and "'case002_tumor.png'" in mask


def test_columns_in_any_order_empty_rows_and_words_for_nothing(tmp_path) -> None:
    breast(tmp_path, benign=1, malignant=1, normal=0)
    rows = [
        ("classification", "IMAGE_FILENAME", "caseid ", "Mask_tumor_filename", "Mask_other_filename"),
        (" Benign", "case001.png", 1.0, "case001_tumor.png", "not applicable"),
        (None, None, None, None, None),
        ("malignant", "CASE002.png", 2, "not applicable", None),
    ]
    write_workbook(tmp_path / WORKBOOK, rows)
    samples = Breast(tmp_path).samples()
    assert [(s.label, s.patient, len(s.masks), s.meta) for s in samples] == [
        ("benign", "1", 1, {}), ("malignant", "2", 0, {}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("label", "times", "message"),
    [("unsure", 1, "row 2: classification 'unsure' is none of benign"), ("benign", 2, "case 1 twice, in rows 2 and 3")],
)
def test_a_workbook_that_was_changed_is_refused(tmp_path, label: str, times: int, message: str) -> None:
    breast(tmp_path, benign=1, malignant=1)
    write_workbook(tmp_path / WORKBOOK, [COLUMNS, *[(1, "case001.png", "", "", 0, 0, "", 3, label)] * times])
    with pytest.raises(UsageError, match=message):
        Breast(tmp_path).samples()


def test_workbooks_of_others_and_locks_are_passed_over(tmp_path) -> None:
    breast(tmp_path, benign=1, malignant=1, normal=0)
    write_workbook(tmp_path / "costs.xlsx", [("month", "sum"), ("May", 3)])
    (tmp_path / f"~${WORKBOOK}").write_bytes(b"lock")
    assert len(Breast(tmp_path).samples()) == 2
    write_workbook(tmp_path / "copy.xlsx", [COLUMNS])
    with pytest.raises(UsageError, match="holds 2 workbooks"):
        Breast(tmp_path).samples()


def test_a_damaged_workbook_and_one_without_images_are_refused(tmp_path) -> None:
    breast(tmp_path, benign=1, malignant=1, normal=0)
    for image in (tmp_path / HOME).iterdir():
        image.unlink()
    with pytest.raises(NotFoundError, match="its images are not"):
        Breast(tmp_path).samples()
    whole = (tmp_path / WORKBOOK).read_bytes()
    (tmp_path / WORKBOOK).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=WORKBOOK):
        Breast(tmp_path).samples()
