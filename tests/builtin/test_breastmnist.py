"""BreastMNIST: arrays instead of files, labels the other way round, and a split that leaks."""

import hashlib
import pickle

import numpy as np
import pytest

from mammozoo import Input, Progress, Sample
from mammozoo.data.decoding import decode_cached
from mammozoo.data.loaded import open_dataset
from mammozoo.data.quality.check import check
from mammozoo.data.splits.make import official_part
from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets import breastmnist as module
from mammozoo_datasets.breastmnist import BreastMnist

from .trees.pictures import breastmnist


def test_zero_is_malignant_and_samples_of_other_data_sets_are_refused(tmp_path) -> None:
    dataset = BreastMnist(breastmnist(tmp_path, train=4, val=1, test=2))
    samples = dataset.samples()
    assert [(s.image, s.label, official_part(s)) for s in samples] == [
        ("train-0000", "malignant", "train"), ("train-0001", "normal-or-benign", "train"),
        ("train-0002", "normal-or-benign", "train"), ("train-0003", "malignant", "train"),
        ("val-0000", "malignant", "val"), ("test-0000", "malignant", "test"), ("test-0001", "normal-or-benign", "test"),
    ]  # fmt: skip
    assert dataset.classes == ("normal-or-benign", "malignant")  # the second is the positive one
    with np.load(tmp_path / "breastmnist.npz") as file:
        np.testing.assert_array_equal(dataset.read(samples[6]), file["test_images"][1])
        dataset.read(samples[6])[:] = 0  # what is read is the caller's own
        np.testing.assert_array_equal(dataset.read(samples[6]), file["test_images"][1])
    dataset = BreastMnist(breastmnist(tmp_path))
    for name in ("train-9999", "benign/1.png", "train-x"):
        with pytest.raises(NotFoundError, match=name):
            dataset.read(Sample(name, "malignant"))


def test_the_file_by_size(tmp_path) -> None:
    for size in (28, 64):
        breastmnist(tmp_path, size=size, train=3, val=1, test=1)

    def side(dataset: BreastMnist) -> int:
        return int(dataset.read(dataset.samples()[0]).shape[0])

    assert side(BreastMnist(tmp_path)) == 64  # the largest there
    assert side(BreastMnist(tmp_path / "breastmnist.npz")) == 28
    dataset = open_dataset("breastmnist:size=28", tmp_path)
    assert isinstance(dataset, BreastMnist)
    assert side(dataset) == 28
    with pytest.raises(UsageError, match=r"images of 28, 64, 128, 224 pixels; got size=32"):
        BreastMnist(tmp_path, size=32)
    with pytest.raises(NotFoundError, match="You asked for size=224"):
        BreastMnist(tmp_path, size=224).samples()
    with pytest.raises(UsageError, match="holds images of 28 pixels, not of size=64"):
        BreastMnist(tmp_path / "breastmnist.npz", size=64).samples()


def test_it_says_what_it_is(tmp_path, monkeypatch) -> None:
    dataset = BreastMnist(breastmnist(tmp_path))
    dataset.samples()
    leak, md5, counts = dataset.notes
    assert "near-duplicates" in leak and "BUSI" in leak
    found = hashlib.md5((tmp_path / "breastmnist.npz").read_bytes()).hexdigest()
    assert f"its MD5 is {found}, not 750601b1f35ba3300ea97c75c52ff8f6" in md5
    assert "24 of the published 546 train" in counts
    monkeypatch.setitem(module.MD5, 28, found)  # as if this were the published file
    again = BreastMnist(tmp_path)
    again.samples()
    assert again.notes == [leak, counts]


def test_a_changed_file_is_read_anew(tmp_path) -> None:
    """What an earlier decoding left in the cache must not stand for other bytes under the same name."""
    settings = Input(size=(32, 32))
    breastmnist(tmp_path)
    dataset = BreastMnist(tmp_path)
    before = decode_cached(dataset, dataset.samples(), settings).pixels
    with np.load(tmp_path / "breastmnist.npz") as file:
        arrays = dict(file)
    np.savez_compressed(tmp_path / "breastmnist.npz", **(arrays | {"train_images": 255 - arrays["train_images"]}))
    dataset = BreastMnist(tmp_path)
    after = decode_cached(dataset, dataset.samples(), settings).pixels
    assert (before[:24] != after[:24]).any()
    np.testing.assert_array_equal(before[24:], after[24:])


def test_data_check_reads_it(tmp_path) -> None:
    file = breastmnist(tmp_path, size=64) / "breastmnist_64.npz"
    result = check(BreastMnist(file), file, Progress())
    assert result.classes == {"normal-or-benign": 28, "malignant": 14}
    assert not result.failed
    assert result.files[0] == "train-0000"


def test_other_arrays_are_refused(tmp_path) -> None:
    path = tmp_path / "breastmnist.npz"
    images, labels = np.zeros((2, 28, 28), np.uint8), np.zeros((2, 1), np.uint8)
    parts = ("train", "val", "test")
    good = {f"{part}_images": images for part in parts} | {f"{part}_labels": labels for part in parts}
    np.savez(path, **good)
    assert len(BreastMnist(path).samples()) == 6
    for name, array, says in (
        ("val_labels", None, "lacks 'val_images' or 'val_labels'; it has train_images"),
        ("test_images", images[..., None].repeat(3, -1), r"'test_images' is uint8 \(2, 28, 28, 3\) with 2 labels"),
        ("val_labels", np.zeros((3, 1), np.uint8), r"'val_images' is uint8 \(2, 28, 28\) with 3 labels"),
        ("test_labels", labels + 7, "labels besides 0 and 1"),
    ):
        arrays = {key: value for key, value in (good | {name: array}).items() if value is not None}
        np.savez(path, **arrays)
        with pytest.raises(UsageError, match=says):
            BreastMnist(path).samples()


def test_pickles_and_damage_are_refused(tmp_path) -> None:
    whole = (breastmnist(tmp_path / "sound") / "breastmnist.npz").read_bytes()
    path = tmp_path / "breastmnist.npz"
    np.savez(path, train_images=np.array([{"a": 1}], object))
    for content in (path.read_bytes(), pickle.dumps([1]), whole[:2000]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is damaged"):
            BreastMnist(path).samples()
