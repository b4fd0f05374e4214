"""Mendeley breast ultrasound: crops without masks, a balanced subset, and the look-alike that is refused."""

import pytest

from mammozoo.data.loaded import open_dataset
from mammozoo.errors import UsageError
from mammozoo_datasets.mendeley import Mendeley

from .trees.drawing import picture, save, spot
from .trees.pictures import mendeley


def names(dataset: Mendeley) -> list[str]:
    return [sample.image for sample in dataset.samples()]


def test_every_bmp_in_any_case_by_number(tmp_path) -> None:
    dataset = Mendeley(mendeley(tmp_path, benign=12, malignant=4))
    samples = dataset.samples()
    assert [sample.image for sample in samples if sample.label == "benign"][:4] == [
        "benign/us1.bmp", "benign/us2.bmp", "benign/us3.BMP", "benign/us4.bmp",
    ]  # fmt: skip
    assert names(dataset)[9:12] == ["benign/us10.bmp", "benign/us11.bmp", "benign/us12.BMP"]  # not after us1
    assert [sample.label for sample in samples] == ["benign"] * 12 + ["malignant"] * 4
    assert all(sample.patient is None and not sample.masks for sample in samples)
    assert dataset.read(samples[0]).shape == (58, 58)
    assert "size" in dataset.notes[0]
    assert "12 of the published 100 benign, 4 of the published 150 malignant" in dataset.notes[1]


@pytest.mark.parametrize("below", ["", "originals"])
def test_names_do_not_depend_on_the_folder_pointed_at(tmp_path, below: str) -> None:
    mendeley(tmp_path / "download" / "unpacked", benign=2, malignant=2)
    for root in (tmp_path, tmp_path / "download", tmp_path / "download" / "unpacked" / below):
        assert names(Mendeley(root)) == [
            "benign/us1.bmp", "benign/us2.bmp", "malignant/us501.bmp", "malignant/us502.bmp",
        ]  # fmt: skip


def test_a_balanced_subset_is_drawn_by_the_seed(tmp_path) -> None:
    mendeley(tmp_path, benign=30, malignant=40)
    everything = names(Mendeley(tmp_path))
    dataset = open_dataset("mendeley:balanced=20,seed=3", tmp_path)
    assert isinstance(dataset, Mendeley)
    chosen = dataset.samples()
    assert [sample.label for sample in chosen] == ["benign"] * 20 + ["malignant"] * 20
    order = [everything.index(sample.image) for sample in chosen]
    assert order == sorted(order)
    assert names(Mendeley(tmp_path, balanced=20, seed=3)) == [sample.image for sample in chosen]
    assert names(Mendeley(tmp_path, balanced=20, seed=4)) != [sample.image for sample in chosen]
    drawn = {name for seed in range(9) for name in names(Mendeley(tmp_path, 20, seed))}
    assert len(drawn) > 55  # no image is left behind
    # All of the smaller class, whatever the seed.
    assert names(Mendeley(tmp_path, balanced=30))[:30] == everything[:30]


def test_too_much_is_asked_for(tmp_path) -> None:
    mendeley(tmp_path, benign=5, malignant=9)
    with pytest.raises(UsageError, match=r"balanced=6 asks for more than the 5 benign images"):
        Mendeley(tmp_path, balanced=6).samples()
    for option in ("balanced", "seed"):
        with pytest.raises(UsageError, match=option):
            open_dataset(f"mendeley:{option}=-1", tmp_path)


def test_busc_is_refused_by_its_masks_and_by_its_size(tmp_path) -> None:
    mendeley(tmp_path, benign=2, malignant=2)
    save(tmp_path / "originals" / "benign" / "Masks" / "us1.png", spot())
    with pytest.raises(UsageError, match=r"looks like BUSC .*'benign/Masks/us1.png' looks like a mask"):
        Mendeley(tmp_path).samples()
    other = tmp_path / "other"
    for number in range(4):
        save(other / ("benign", "malignant")[number % 2] / f"{number}.bmp", picture(number, 128, 128))
    with pytest.raises(UsageError, match="all 4 images are 128 x 128"):
        Mendeley(other).samples()
    save(other / "benign" / "9.bmp", picture(9, 128, 90))
    assert len(Mendeley(other).samples()) == 5


def test_a_damaged_file_is_no_reason_to_refuse_the_set(tmp_path) -> None:
    mendeley(tmp_path, benign=3, malignant=3)
    (tmp_path / "originals" / "benign" / "us1.bmp").write_bytes(b"BM")
    assert len(Mendeley(tmp_path).samples()) == 6


def test_two_copies_are_refused(tmp_path) -> None:
    mendeley(tmp_path / "a", benign=1, malignant=1)
    mendeley(tmp_path / "b", benign=1, malignant=1)
    with pytest.raises(UsageError, match="holds 2 copies"):
        Mendeley(tmp_path)


def test_what_belongs_to_no_class_is_left_out(tmp_path) -> None:
    mendeley(tmp_path, benign=2, malignant=2)
    save(tmp_path / "originals" / "extra.bmp", picture(1))
    save(tmp_path / "originals" / "benign" / "._us1.bmp", picture(1))
    dataset = Mendeley(tmp_path)
    assert len(dataset.samples()) == 4
    assert all(note.startswith("1 ") for note in dataset.notes[-2:])
    assert "'extra.bmp'" in dataset.notes[-2] and "'benign/._us1.bmp'" in dataset.notes[-1]
