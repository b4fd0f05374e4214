"""BUSI as it is published, as mirrors have it, and as it should not be."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo.data.loaded import open_dataset
from mammozoo.errors import NotFoundError, UsageError

from .trees.drawing import grey


@pytest.fixture
def busi(tmp_path) -> Path:
    home = tmp_path / "Dataset_BUSI_with_GT"
    for label, numbers in {"benign": (1, 2, 10), "malignant": (3,), "normal": (1,)}.items():
        for number in numbers:
            grey(home / label / f"{label} ({number}).png")
            grey(home / label / f"{label} ({number})_mask.png", 0)
    for name, rows in (("_mask", slice(-2, None)), ("_mask_1", slice(3))):
        mask = np.zeros((18, 20), np.uint8)
        mask[rows] = 255
        Image.fromarray(mask).save(home / "benign" / f"benign (2){name}.png")
    return tmp_path


def test_busi_order_masks_and_notes(busi: Path) -> None:
    dataset = open_dataset("busi", busi)
    samples = dataset.samples()
    assert [(s.label, s.meta["number"]) for s in samples] == [
        ("benign", 1), ("benign", 2), ("benign", 10), ("malignant", 3), ("normal", 1),
    ]  # fmt: skip
    assert all(sample.patient is None for sample in samples)
    assert samples[1].masks == ("benign/benign (2)_mask.png", "benign/benign (2)_mask_1.png")
    mask = dataset.mask(samples[1])
    assert mask.sum() == 5 * 20
    assert dataset.read(samples[0]).shape == (18, 20)
    (note,) = dataset.notes
    assert "5 images" in note and "780" in note and "3 of the published 437 benign" in note


@pytest.mark.parametrize(
    ("masks", "by_class", "suffix"), [("mask", True, ""), ("masks", False, ""), ("masks", True, "_mask")]
)
def test_busi_mirrors(tmp_path, masks: str, by_class: bool, suffix: str) -> None:
    for label in ("benign", "malignant"):
        home = tmp_path / "archive" / label if by_class else tmp_path
        grey(home / "images" / f"{label} (7).png")
        grey(home / masks / f"{label} (7){suffix}.png", 255)
    samples = open_dataset("busi", tmp_path).samples()
    assert [(s.label, len(s.masks)) for s in samples] == [("benign", 1), ("malignant", 1)]
    assert "/images/" in "/" + samples[0].image
    assert f"{masks}/" in samples[0].masks[0]


def test_busi_says_what_is_odd_and_refuses_contradictions(busi: Path) -> None:
    home = busi / "Dataset_BUSI_with_GT"
    (home / "normal" / "normal (1)_mask.png").unlink()
    grey(home / "benign" / "benign (99)_mask.png")
    grey(home / "doubtful" / "doubtful (1).png")
    grey(home / "benign" / "._benign (1).png")
    dataset = open_dataset("busi", home)
    assert len(dataset.samples()) == 5
    names = (
        "normal/normal (1).png",
        "benign/benign (99)_mask.png",
        "doubtful/doubtful (1).png",
        "benign/._benign (1).png",
    )
    assert all(note.startswith("1 ") and name in note for note, name in zip(dataset.notes[1:], names, strict=True))
    copy = grey(home / "copy" / "benign (1).png")
    with pytest.raises(UsageError, match="copy/benign"):
        open_dataset("busi", home).samples()
    copy.rename(home / "malignant" / "benign (77).png")
    with pytest.raises(UsageError, match=r"malignant/benign \(77\)"):
        open_dataset("busi", home).samples()


def test_busi_elsewhere(tmp_path) -> None:
    for number in range(12):
        grey(tmp_path / f"scan{number:02d}.png")
    with pytest.raises(NotFoundError) as missing:
        open_dataset("busi", tmp_path).samples()
    said = str(missing.value)
    assert all(word in said for word in ("Dataset_BUSI_with_GT/", "scan09.png", "2 more")) and "scan10.png" not in said


def test_busi_on_the_real_images(local_data) -> None:
    dataset = open_dataset("busi", local_data / "data" / "busi")
    samples = dataset.samples()
    assert Counter(sample.label for sample in samples) == {"benign": 381, "malignant": 183, "normal": 116}
    assert "381 of the published 437 benign" in dataset.notes[0]
    assert len(dataset.notes) == 1
    assert sum(len(sample.masks) > 1 for sample in samples) == 17
    for sample in samples[::40]:
        image, mask = dataset.read(sample), dataset.mask(sample)
        assert image.dtype == np.uint8
        assert mask.shape == image.shape[:2]
        assert mask.any() == (sample.label != "normal")
