"""BreakHis: everything stands in the file's name."""

from collections import Counter

import pytest

from mammozoo.data.loaded import open_dataset
from mammozoo.errors import NotFoundError, UsageError

from .trees.drawing import picture, save
from .trees.pictures import breakhis


def test_names_become_samples(tmp_path) -> None:
    dataset = open_dataset("breakhis", breakhis(tmp_path, slides=2))
    samples = dataset.samples()
    assert Counter(sample.label for sample in samples) == {"benign": 8, "malignant": 8}
    first = samples[0]
    assert first.image == "benign/SOB/adenosis/SOB_B_A_14-20000/40X/SOB_B_A-14-20000-40-001.png"
    assert (first.label, first.patient) == ("benign", "14-20000")
    assert first.meta == {"subtype": "adenosis", "magnification": 40, "number": 1}
    assert {sample.patient for sample in samples} == {"14-20000", "14-20001AB", "14-25000", "14-25001AB"}
    assert [sample.meta["magnification"] for sample in samples[:4]] == [40, 100, 200, 400]
    assert dataset.read(first).shape == (48, 64, 3)
    assert "8 of the published 2480 benign, 8 of the published 5429 malignant" in dataset.notes[0]


def test_one_magnification(tmp_path) -> None:
    breakhis(tmp_path / "all", slides=3)
    samples = open_dataset("breakhis:magnification=200", tmp_path / "all").samples()
    assert [sample.meta["magnification"] for sample in samples] == [200] * 6
    with pytest.raises(UsageError, match="'50'"):
        open_dataset("breakhis:magnification=50", tmp_path / "all")
    save(tmp_path / "few" / "benign" / "SOB_B_A-14-1AB-40-001.png", picture(1))
    with pytest.raises(NotFoundError, match="magnification=400"):
        open_dataset("breakhis:magnification=400", tmp_path / "few").samples()


def test_any_folder_above_the_classes_and_other_files_are_left_out(tmp_path) -> None:
    breakhis(tmp_path, slides=2)
    top = tmp_path / "BreaKHis_v1"
    roots = [tmp_path, top, top / "histology_slides", top / "histology_slides" / "breast"]
    assert len({tuple(sample.image for sample in open_dataset("breakhis", root).samples()) for root in roots}) == 1
    # A part of the data, and that is said.
    assert len(open_dataset("breakhis", top / "histology_slides" / "breast" / "benign").samples()) == 8
    for name in ("logo.png", "SOB_B_XX-14-1-40-001.png"):
        save(tmp_path / "BreaKHis_v1" / "histology_slides" / "breast" / name, picture(1))
    dataset = open_dataset("breakhis", tmp_path)
    assert len(dataset.samples()) == 16
    assert "2 files left out" in dataset.notes[1]


def test_a_slide_in_two_subtypes_is_one_patient_and_contradictions_are_refused(tmp_path) -> None:
    for code in ("DC", "LC"):
        save(tmp_path / "malignant" / f"SOB_M_{code}-14-13412-40-001.png", picture(1))
    assert [(s.patient, s.meta["subtype"]) for s in open_dataset("breakhis", tmp_path).samples()] == [
        ("14-13412", "ductal carcinoma"), ("14-13412", "lobular carcinoma"),
    ]  # fmt: skip
    save(tmp_path / "malignant" / "SOB_B_A-14-1AB-40-001.png", picture(1))
    with pytest.raises(UsageError, match="malignant/SOB_B_A-14-1AB-40-001"):
        open_dataset("breakhis", tmp_path).samples()
    (tmp_path / "malignant" / "SOB_B_A-14-1AB-40-001.png").unlink()
    for folder in ("a", "b"):
        save(tmp_path / folder / "SOB_B_A-14-1AB-40-001.png", picture(1))
    with pytest.raises(UsageError, match="are the same image"):
        open_dataset("breakhis", tmp_path).samples()
