"""CBIS-DDSM: three layouts, masks told from crops, odd tables, patients on both sides; and the published tables whole."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from mammozoo import Input, Sample
from mammozoo.data.decoding import decode
from mammozoo.data.loaded import open_data
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.progress import Progress
from mammozoo_datasets.cbis_ddsm import CbisDdsm, _without_shared
from mammozoo_datasets.cbis_ddsm.table import disagreeing, read_table

from .trees.cbis_ddsm import SHAPE, Row, cbis_ddsm

LESIONS = [
    Row("mass", "train", "P_00001", "MALIGNANT"),
    Row("mass", "train", "P_00001", "BENIGN", number=2, box=(5, 5, 15, 10), swapped=True),
    Row("mass", "test", "P_00002", "BENIGN", view="MLO", density="0"),
    Row("calc", "train", "P_00003", "BENIGN_WITHOUT_CALLBACK", density="4", box=(2, 30, 8, 34)),
    Row("calc", "train", "P_00002", "MALIGNANT"),
]


@pytest.fixture(scope="module", params=["tables", "retriever", "jpeg"])
def layout(request) -> Any:
    return request.param


@pytest.fixture(scope="module")
def small(tmp_path_factory, layout: Any) -> Path:
    return cbis_ddsm(tmp_path_factory.mktemp("cbis"), layout, LESIONS)


def by_lesion(samples: list[Sample]) -> dict[str | None, Sample]:
    return {sample.lesion: sample for sample in samples}


def test_every_layout_gives_the_same_lesions_masks_and_depth(small: Path, layout: str) -> None:
    dataset = CbisDdsm(small)
    found = by_lesion(dataset.samples())
    assert {name: (s.label, s.patient, s.meta["part"]) for name, s in found.items()} == {
        "P_00001-LEFT-mass-1": ("malignant", "P_00001", "train"),
        "P_00001-LEFT-mass-2": ("benign", "P_00001", "train"),
        "P_00002-LEFT-mass-1": ("benign", "P_00002", "test"),
        "P_00003-LEFT-calc-1": ("benign", "P_00003", "train"),
    }
    first, second = found["P_00001-LEFT-mass-1"], found["P_00001-LEFT-mass-2"]
    assert first.image.removesuffix("#mass-1") == second.image.removesuffix("#mass-2")
    assert dataset.read(first).shape == SHAPE
    for name, box in (("P_00001-LEFT-mass-1", (10, 20, 30, 40)), ("P_00001-LEFT-mass-2", (5, 5, 15, 10))):
        mask = dataset.mask(found[name])
        assert mask.shape == SHAPE
        if not found[name].masks[0].endswith(".jpg"):
            assert dataset.box(found[name]) == box
        else:  # JPEG blurs the border
            assert np.abs(np.subtract(dataset.box(found[name]), box)).max() <= 1  # type: ignore[arg-type]
    deep = dataset.read(dataset.samples()[0]).dtype
    warned = any("8-bit JPEG copies" in note for note in dataset.notes)
    assert (deep, warned) == ((np.uint8, True) if layout == "jpeg" else (np.uint16, False))


def test_options_choose_lesions_and_the_range_of_width_over_height(small: Path) -> None:
    masses = CbisDdsm(small, abnormality="mass")
    assert Counter(s.meta["abnormality"] for s in masses.samples()) == {"mass": 3}
    calcs = CbisDdsm(small, abnormality="calc")
    assert sorted(str(s.patient) for s in calcs.samples()) == ["P_00002", "P_00003"]  # nobody of test is among them
    assert any(note.startswith("1 lesions benign without callback") for note in calcs.notes)
    dropped = CbisDdsm(small, abnormality="calc", callback="drop")
    assert [s.patient for s in dropped.samples()] == ["P_00002"]
    assert any(note.startswith("1 lesions benign without callback") and "left out" in note for note in dropped.notes)
    masses = CbisDdsm(small, abnormality="mass", aspect="0.4-1.5")
    samples = masses.samples()
    assert by_lesion(samples).keys() == {"P_00001-LEFT-mass-1", "P_00002-LEFT-mass-1"}  # the third is 10 × 5
    assert all(s.box is not None for s in samples)
    assert any(note.startswith("1 of 3 lesions are left out: no box") for note in masses.notes)
    assert len(CbisDdsm(small, abnormality="mass", aspect="0.4-3").samples()) == 3
    for wrong in ("1.5-0.4", "1.5", "a-b"):
        with pytest.raises(UsageError, match=r"aspect=0\.4-1\.5"):
            CbisDdsm(small, aspect=wrong)


def test_what_the_tables_say_is_kept_and_density_0_is_unknown(small: Path) -> None:
    dataset = CbisDdsm(small)
    found = by_lesion(dataset.samples())
    assert found["P_00003-LEFT-calc-1"].meta == {
        "part": "train", "abnormality": "calc", "side": "LEFT", "view": "CC", "pathology": "BENIGN_WITHOUT_CALLBACK",
        "density": "4", "assessment": "4", "subtlety": "3", "type": "AMORPHOUS", "distribution": "CLUSTERED",
    }  # fmt: skip
    assert found["P_00001-LEFT-mass-1"].meta["density"] == "2"
    assert "density" not in found["P_00002-LEFT-mass-1"].meta
    both = [note for note in dataset.notes if note.startswith("1 patients are in the training part")]
    assert len(both) == 1 and "1 of their" in both[0]  # and P_00002 stays in test


def test_a_mask_of_another_size_is_resized_and_named(tmp_path) -> None:
    root = cbis_ddsm(tmp_path, lesions=[Row("mass", "test", "P_00145", "BENIGN", mask_shape=(120, 96))])
    dataset = CbisDdsm(root)
    (sample,) = dataset.samples()
    mask = dataset.mask(sample)
    assert mask.shape == SHAPE
    assert dataset.box(sample) == (10, 20, 30, 40)
    assert any(note.startswith("1 masks are not of their image's size") and "P_00145" in note for note in dataset.notes)


def test_of_two_files_of_one_size_the_one_with_two_values_is_the_mask(tmp_path) -> None:
    rows = [Row("mass", "test", "P_00001", "BENIGN", box=(0, 0, 46, 58), swapped=swapped, view=view)
            for swapped, view in ((True, "CC"), (False, "MLO"))]  # fmt: skip
    dataset = CbisDdsm(cbis_ddsm(tmp_path, lesions=rows))
    for sample in dataset.samples():
        mask = dataset.mask(Sample(sample.image, sample.label, masks=sample.masks))
        assert mask is not None
        assert dataset.path(sample.masks[0]).name == ("000000.dcm" if "_CC_" in sample.masks[0] else "000001.dcm")


def test_missing_images_and_masks_are_told(tmp_path) -> None:
    rows = [*LESIONS[:3], Row("mass", "test", "P_00007", "MALIGNANT", box=None)]
    root = cbis_ddsm(tmp_path, lesions=rows)
    shutil.rmtree(root / "CBIS-DDSM" / "Mass-Test_P_00002_LEFT_MLO")
    dataset = CbisDdsm(root)
    found = by_lesion(dataset.samples())
    assert found.keys() == {"P_00001-LEFT-mass-1", "P_00001-LEFT-mass-2", "P_00007-LEFT-mass-1"}
    assert dataset.mask(found["P_00007-LEFT-mass-1"]) is None
    assert any(note.startswith("1 of 4 lesions") and "'Mass-Test_P_00002_LEFT_MLO_1'" in note for note in dataset.notes)
    assert any(note.startswith("1 lesions have no mask: ") for note in dataset.notes)
    with pytest.raises(UsageError, match=r"1 of 3 samples have neither a lesion box nor a mask.*P_00007"):
        decode(dataset, list(found.values()), Input(size=(8, 8), preprocess=("lesion",)))


def test_why_no_lesion_is_left_is_said_before_the_class_is_missed(tmp_path) -> None:
    """Films without masks, as a package brings them, under a recipe that wants boxes of a certain shape."""
    root = cbis_ddsm(tmp_path, lesions=[Row("mass", "test", "P_00007", "MALIGNANT", box=None)])
    said: list[str] = []
    progress = Progress()
    progress.note = said.append  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="no image of class 'benign'"):
        open_data("cbis-ddsm:aspect=0.4-1.5", root, None, Input(size=(8, 8)), "group", progress)
    assert any(note.startswith("1 lesions have no mask: ") for note in said)
    assert any(note.startswith("1 of 1 lesions are left out: no box") for note in said)


def test_tables_without_images_and_rows_that_make_no_sense_are_refused(tmp_path) -> None:
    root = cbis_ddsm(tmp_path, lesions=LESIONS[:1])
    table = root / "mass_case_description_train_set.csv"
    text = table.read_text()
    for changed, says in (
        (text.replace("MALIGNANT", "PERHAPS"), r"line 2: the pathology 'PERHAPS'"),
        (text.replace("/000000.dcm", "").replace("P_00001,", "1,", 1), "line 2: no patient"),
    ):
        table.write_text(changed)
        with pytest.raises(UsageError, match=says):
            CbisDdsm(root).samples()
    table.write_text(text)
    shutil.rmtree(root / "CBIS-DDSM")
    with pytest.raises(NotFoundError, match="None of the 1 lesions of the tables has its image there"):
        CbisDdsm(root).samples()


# ---------------------------------------------------------------- the published tables


@pytest.fixture(scope="module")
def published(local_data) -> list[Any]:
    folder = local_data / "data" / "cbis_ddsm_csv"
    if not folder.is_dir():
        pytest.skip("needs the tables of CBIS-DDSM in data/cbis_ddsm_csv")
    return [
        lesion
        for kind in ("mass", "calc")
        for part in ("train", "test")
        for lesion in read_table(folder / f"{kind}_case_description_{part}_set.csv", kind, part)
    ]


@pytest.mark.parametrize(
    ("kind", "part", "malignant", "benign", "uncalled", "patients", "images"),
    [
        ("mass", "train", 637, 577, 104, 691, 1231),
        ("mass", "test", 147, 194, 37, 201, 361),
        ("calc", "train", 544, 528, 474, 602, 1227),
        ("calc", "test", 129, 130, 67, 151, 284),
    ],
)
def test_the_published_tables_row_by_row(published, kind, part, malignant, benign, uncalled, patients, images) -> None:
    lesions = [lesion for lesion in published if (lesion.kind, lesion.part) == (kind, part)]
    counts = Counter(lesion.pathology for lesion in lesions)
    assert counts == {"MALIGNANT": malignant, "BENIGN": benign, "BENIGN_WITHOUT_CALLBACK": uncalled}
    assert len({lesion.patient for lesion in lesions}) == patients
    assert len({lesion.image_series for lesion in lesions}) == images
    assert {lesion.folder for lesion in lesions} == {f"{lesion.case}_{lesion.number}" for lesion in lesions}
    assert all(lesion.meta["side"] in ("LEFT", "RIGHT") and lesion.meta["view"] in ("CC", "MLO") for lesion in lesions)
    assert sum("density" not in lesion.meta for lesion in lesions) == (2 if (kind, part) == ("calc", "test") else 0)
    assert not any("\n" in uid for lesion in lesions for uid in (*lesion.lesion_series, lesion.folder))


def test_the_published_tables_as_a_whole(published: list[Any]) -> None:
    assert len(published) == len({lesion.folder for lesion in published}) == 3568
    assert len({lesion.patient for lesion in published}) == 1566
    kept, (note,) = _without_shared(published)
    assert note.startswith("31 patients are in")
    assert not {x.patient for x in kept if x.part == "train"} & {x.patient for x in kept if x.part == "test"}
    for kind in ("mass", "calc"):
        assert _without_shared([lesion for lesion in published if lesion.kind == kind])[1] == []
    assert len(disagreeing(published)) == 6
    assert sum(len(lesion.lesion_series) == 2 for lesion in published) >= 103


def test_files_without_case_folders_are_known_by_their_header(tmp_path) -> None:
    """As in the package `mammograms`: PatientID is the case, for masks and crops the case and a number."""
    cbis_ddsm(tmp_path, "retriever", LESIONS)
    before = by_lesion(CbisDdsm(tmp_path).samples())
    (tmp_path / "flat").mkdir()
    for number, path in enumerate(sorted(tmp_path.rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = next(part for part in path.parts[::-1] if part.startswith(("Mass-", "Calc-")))
        dataset.save_as(tmp_path / "flat" / f"{number}.dcm")
        path.unlink()
    after = CbisDdsm(tmp_path).samples()
    assert by_lesion(after).keys() == before.keys()
    for sample in after:
        assert sample.image.startswith("flat/") and len(sample.masks) == 1
        row = next(
            row for row in LESIONS if f"{row.kind}-{row.number}" in sample.image and row.patient == sample.patient
        )
        assert CbisDdsm(tmp_path).box(sample) == row.box
