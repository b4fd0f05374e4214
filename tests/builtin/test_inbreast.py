"""INbreast: patients from names of files, BI-RADS as classes, outlines from XML; and DICOM files shown as they ask."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mammozoo.data.io.images import read_image
from mammozoo.errors import UsageError
from mammozoo_datasets.inbreast import InBreast, read_outlines

from .trees.dicom import write_dicom
from .trees.inbreast import inbreast, write_outlines


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Eight patients of categories 1, 2, 3, 4a, 4c, 5, 6, 4b, two views each; read it, never change it."""
    return inbreast(tmp_path_factory.mktemp("inbreast"), patients=8)


def test_classes_are_birads_and_patients_are_in_the_names(small: Path) -> None:
    dataset = InBreast(small)
    samples = dataset.samples()
    assert len(samples) == 16
    assert Counter(s.label for s in samples) == {"not-suspicious": 6, "suspicious": 10}
    assert samples[0].image == "AllDICOMs/20586900_0000000000000000_MG_L_CC_ANON.dcm"
    assert samples[7].meta == {"birads": "4a", "density": "2", "side": "R", "view": "MLO"}
    assert [s.patient for s in samples[:3]] == ["0" * 16, "0" * 16, "0" * 15 + "1"]
    assert dataset.read(samples[0]).dtype == np.uint16
    assert any("BI-RADS 4" in note for note in dataset.notes)


@pytest.mark.parametrize(("category", "suspicious"), [("3", 12), ("4b", 8), ("5", 4)])
def test_the_limit_is_an_option(small: Path, category: str, suspicious: int) -> None:
    samples = InBreast(small, suspicious_from=category).samples()  # type: ignore[arg-type]
    assert sum(s.label == "suspicious" for s in samples) == suspicious


def test_masses_have_boxes_and_masks_of_their_own(small: Path) -> None:
    dataset = InBreast(small, unit="mass")
    samples = dataset.samples()
    assert len(samples) == 14  # all but the two views of category 1
    first = samples[0]
    assert first.image.endswith("_MG_R_CC_ANON.dcm#mass-1")
    assert first.box == (11, 20, 30, 44)
    mask = dataset.mask(first)
    assert mask.sum() == 19 * 24
    whole = InBreast(small)
    (image,) = [s for s in whole.samples() if s.image == first.image.partition("#")[0]]
    everything = whole.mask(image)
    assert everything.sum() == 19 * 24 + 1  # and one calcification
    assert whole.mask(whole.samples()[0]) is None
    assert np.array_equal(dataset.read(first), whole.read(image))


def test_images_without_a_row_or_a_category_are_left_out_and_named(tmp_path) -> None:
    root = inbreast(tmp_path, patients=2)
    table = root / "INbreast Release 1.0" / "INbreast.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[1], lines[2][:-1], *lines[3:4], "", ";;;;;;;"]))
    dataset = InBreast(root)
    assert len(dataset.samples()) == 2
    assert any(note.startswith("1 images left out, not in INbreast.csv: 'AllDICOMs/20586903") for note in dataset.notes)
    assert any(note.startswith("1 images left out, without a BI-RADS category: 'AllD") for note in dataset.notes)


def test_outlines_of_an_xml_file(tmp_path) -> None:
    regions = [("mass ", [(1.5, 2), (9, 2), (9, 8)]), ("Cluster", [(3, 4)]), ("Mass", [])]
    path = write_outlines(tmp_path / "1.xml", regions)
    first, second = read_outlines(path)
    assert first.points == ((1.5, 2.0), (9.0, 2.0), (9.0, 8.0))
    assert first.is_mass and not second.is_mass
    for damaged in (b"<plist>", b"<?xml version='1.0'?><plist><dict/></plist>", b"nothing"):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"1\.xml"):
            read_outlines(path)


def test_padding_is_black_if_the_file_names_it(tmp_path) -> None:
    ramp = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (20, 1))  # 12 bits, 64 columns
    padded = ramp.copy()
    padded[:5] = 0
    plain = read_image(write_dicom(tmp_path / "a.dcm", padded, BitsStored=12, PhotometricInterpretation="MONOCHROME1"))
    assert (plain[:5] == 4095).all()  # without the tag, zero is as good a value as any: white here
    told = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 0}
    shown = read_image(write_dicom(tmp_path / "b.dcm", padded, **told))
    assert not shown[:5].any()
    np.testing.assert_array_equal(shown[5:, 1:], plain[5:, 1:])
    ranged = read_image(write_dicom(tmp_path / "c.dcm", ramp, **told, PixelPaddingRangeLimit=640))
    assert not ranged[:, :11].any() and ranged[:, 11].all()
