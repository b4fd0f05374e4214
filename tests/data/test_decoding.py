"""Decoded images: the cache returns the same arrays for the same bytes, input and code only; batches and augmentation."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mammozoo import Input, Progress
from mammozoo.data import dataset as sample
from mammozoo.data import decoding
from mammozoo.data.cache import Store
from mammozoo.data.decoding import Images, code_of, decode, decode_cached
from mammozoo.data.io.images import UnreadableImageError
from mammozoo.data.loaded import open_data, open_dataset
from mammozoo.data.loader import batches
from mammozoo.data.transforms import build
from mammozoo.files import sha256

from ..builtin.trees.pictures import folder

INPUT = Input(size=(32, 32))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """Twelve pictures in two classes, and a cache folder of its own."""
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path / "cache"))
    return folder(tmp_path / "images", each=6)


def opened(root: Path, input: Input = INPUT, advance: Any = lambda: None) -> Images:
    dataset = open_dataset("folder", root)
    return decode_cached(dataset, list(dataset.samples()), input, advance)


def entries(root: Path) -> int:
    return len(list((root.parent / "cache" / "arrays").glob("*")))


def test_the_second_opening_decodes_nothing_and_gives_the_same(root: Path, monkeypatch) -> None:
    dataset = open_dataset("folder", root)
    plain = decode(dataset, list(dataset.samples()), INPUT)
    first = opened(root)
    monkeypatch.setattr(sample, "read_image", lambda path: pytest.fail(f"{path} was decoded"))
    steps: list[None] = []
    second = opened(root, advance=lambda: steps.append(None))
    for images in (first, second):
        assert np.array_equal(images.pixels, plain.pixels)
        for name, array in vars(plain.fingerprints).items():
            assert np.array_equal(getattr(images.fingerprints, name), array)
        assert np.array_equal(images.features, plain.features)
        assert not images.pixels.flags.writeable
    assert len(steps) == 12
    data = open_data("folder", root, None, INPUT, "group", Progress())
    assert np.array_equal(data.images.pixels, plain.pixels)


def test_a_file_with_three_lesions_is_hashed_once(root: Path, monkeypatch) -> None:
    """As in CBIS-DDSM, which has 164 GB; the names of the samples are listed once too."""
    rows = [
        f"{label}/{number:03}.png#{lesion},{label}"
        for label in ("benign", "malignant")
        for number in range(6)
        for lesion in (1, 2, 3)
    ]
    table = root / "table.csv"
    table.write_text("\n".join(["path,label", *rows]))
    hashed: list[Path] = []
    monkeypatch.setattr(decoding, "sha256", lambda path: hashed.append(path) or sha256(path))
    for _ in range(2):
        hashed.clear()
        data = open_data("csv", table, None, INPUT, "group", Progress())
        assert len([path for path in hashed if path.suffix == ".png"]) == 12
    assert data.names is data.names and len(data.names) == 36


def test_a_file_that_is_replaced_while_it_is_read_is_not_cached(root: Path) -> None:
    dataset, path = open_dataset("folder", root), root / "benign" / "000.png"
    states = path.stat()

    def replace() -> None:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(states.st_atime_ns, states.st_mtime_ns))

    decode_cached(dataset, list(dataset.samples()), INPUT, replace)
    assert entries(root) == 0


def test_a_file_changed_behind_size_and_time_is_noticed(root: Path) -> None:
    path = root / "benign" / "000.png"
    content = np.asarray(Image.open(path))
    Image.fromarray(content).save(path, "BMP")  # it is known by its content, and its size is always the same
    first, before = opened(root).pixels[0], path.stat()
    Image.fromarray(content[:, ::-1]).save(path, "BMP")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert not np.array_equal(opened(root).pixels[0], first)


def test_what_matters_for_the_pixels_has_a_key_of_its_own(root: Path) -> None:
    opened(root)
    opened(root, INPUT.model_copy(update={"mean": (0.5, 0.5, 0.5)}))  # used later, on the device
    assert entries(root) == 1
    for change in ({"size": (32, 16)}, {"fit": "pad"}, {"color": "rgb"}, {"preprocess": ("clahe",)}):
        input = INPUT.model_copy(update=change)
        dataset = open_dataset("folder", root)
        assert np.array_equal(opened(root, input).pixels, decode(dataset, list(dataset.samples()), input).pixels)
    assert entries(root) == 5
    (root / "benign" / "005.png").rename(root / "benign" / "055.png")
    opened(root)
    assert entries(root) == 6
    assert code_of(["clahe:clip=2"]) != code_of(["clahe:clip=3"]) != code_of(["hflip"])


def test_threads_do_not_disturb_each_others_preprocessing(root: Path) -> None:
    rng = np.random.default_rng(1)
    for n in range(40):
        Image.fromarray(rng.integers(0, 256, (200, 220), np.uint8)).save(root / "benign" / f"more-{n}.png")
    dataset, input = open_dataset("folder", root), INPUT.model_copy(update={"preprocess": ("clahe",)})
    samples = list(dataset.samples())
    prepare = input.preparer()
    one_by_one = np.stack([prepare(dataset.read(sample)) for sample in samples])
    assert np.array_equal(decode(dataset, samples, input).pixels, one_by_one)


def test_generated_and_unreadable_images_are_not_cached(root: Path, tmp_path) -> None:
    open_data("phantom:n=4", None, None, INPUT, "group", Progress())
    dataset = open_dataset("folder", root)

    class Inverted(type(dataset)):  # type: ignore[misc]
        def read(self, sample: Any) -> Any:
            return 255 - super().read(sample)

    own = Inverted(root)
    images = decode_cached(own, list(own.samples()), INPUT)
    assert np.array_equal(images.pixels, decode(own, list(own.samples()), INPUT).pixels)
    assert images.pixels.flags.writeable
    assert not (tmp_path / "cache").exists()
    (root / "benign" / "000.png").write_bytes(b"nothing")
    for _ in range(2):
        with pytest.raises(UnreadableImageError, match=r"000\.png"):
            opened(root)
    assert Store().folder is not None and entries(root) == 0


AUGMENT = ("hflip", "affine", "brightness-contrast")


def collected(pixels: Any, **options: Any) -> list[tuple[Any, Any, Any]]:
    augment = [build(name) for name in options.pop("augment", ())]
    labels = np.arange(len(pixels)) % 2
    order = np.array(options.pop("order", range(len(pixels))))
    loader = batches(pixels, labels, order, 4, augment=augment, **options)
    return [tuple(part.numpy().copy() for part in batch) for batch in loader]


def test_batches_are_the_images_in_the_given_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 8, 8, 1), np.uint8)
    pixels.setflags(write=False)
    order = np.random.default_rng(0).permutation(13)
    found = collected(pixels, order=order)
    assert [len(batch[0]) for batch in found] == [4, 4, 4, 1]
    assert np.array_equal(np.concatenate([batch[0] for batch in found]), pixels[order])
    assert np.array_equal(np.concatenate([batch[1] for batch in found]), order % 2)
    assert np.array_equal(np.concatenate([batch[2] for batch in found]), order)
    assert found[0][1].dtype == found[0][2].dtype == np.int64


def test_augmentation_depends_on_seed_epoch_and_image_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1), np.uint8)
    pixels.setflags(write=False)
    before = torch.random.get_rng_state()

    def by_image(**options: Any) -> dict[int, Any]:
        found = collected(pixels, augment=AUGMENT, seed=1, **options)
        return {int(i): image for images, _, places in found for image, i in zip(images, places, strict=True)}

    here = by_image(epoch=5)
    for other in (by_image(epoch=5, workers=2), by_image(epoch=5, order=range(9, -1, -1))):
        assert all(np.array_equal(here[i], other[i]) for i in range(10))
    assert not all(np.array_equal(here[i], image) for i, image in by_image(epoch=6).items())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_error_in_augmentation_comes_out_and_an_early_end_stops_the_thread() -> None:
    pixels = np.zeros((40, 8, 8, 1), np.uint8)
    made: list[int] = []

    def fragile(image: Any, rng: Any) -> Any:
        made.append(1)
        if len(made) > 20:
            raise ValueError("cannot")
        return image

    everything = np.arange(40)
    loader = batches(pixels, everything, everything, 4, augment=[fragile])
    with pytest.raises(ValueError, match="cannot"):
        list(loader)
    made.clear()
    for _ in loader:
        break
    assert len(made) <= 16  # the one asked for, two ahead, one in work
