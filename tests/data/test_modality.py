"""The check of an image's modality by its content, on generated images and, where they are, on real ones."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mammozoo.config.names import call, parse
from mammozoo.data.io.images import read_image, to_uint8
from mammozoo.data.loaded import open_dataset
from mammozoo.data.modality import NAMES, other_kind, statistics
from mammozoo.errors import UsageError
from mammozoo.plugins import registry


def _phantoms(modality: str) -> list[np.ndarray]:
    dataset = open_dataset(f"phantom:n=8,seed=77,modality={modality}", None)
    return [to_uint8(dataset.read(sample)) for sample in dataset.samples()]


def _letterboxed(image: np.ndarray) -> np.ndarray:
    side = max(image.shape) + 40
    box = np.zeros((side, side), np.uint8)
    box[20 : 20 + image.shape[0], 20 : 20 + image.shape[1]] = image
    return box


@pytest.mark.parametrize(("modality", "other"), [("ultrasound", "mammography"), ("mammography", "ultrasound")])
def test_generated_images_are_of_their_modality_however_they_are_kept(modality: str, other: str) -> None:
    for image in _phantoms(modality):
        large = np.asarray(
            Image.fromarray(image).resize((image.shape[1] * 2, image.shape[0] * 2), Image.Resampling.BICUBIC)
        )
        kept = [image, image[:, ::-1], image.astype(np.uint16) * 16, np.dstack([image] * 3), large, _letterboxed(image)]
        kept += [255 - image] if modality == "mammography" else [image[8:-8, 8:-8]]
        assert [other_kind(one, modality) for one in kept] == [None] * len(kept)
        found = other_kind(image, other)
        assert found is not None and modality in found
        assert other_kind(image, "any") is other_kind(image, "microscopy") is None


def test_pages_plots_and_photographs_are_of_neither() -> None:
    from sklearn.datasets import load_sample_images

    page = Image.new("L", (420, 594), 255)
    for line in range(30, 560, 18):
        ImageDraw.Draw(page).text((30, line), "The quick brown fox jumps over the lazy dog, again.", fill=0)
    grey = [np.asarray(Image.fromarray(photo).convert("L")) for photo in load_sample_images().images]
    for image in (np.asarray(page), *load_sample_images().images, *grey):
        for modality in ("ultrasound", "mammography"):
            assert other_kind(image, modality) is not None
            assert other_kind(image[:120, :120], modality) is None, "too small to tell"


@pytest.mark.parametrize("shape", [(16, 16), (16, 900), (900, 16), (17, 33, 3)])
@pytest.mark.parametrize("fill", ["constant", "noise", "two greys"])
def test_odd_images_have_finite_statistics(shape: tuple[int, ...], fill: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    image = {"constant": np.full(shape, 7, np.uint8), "noise": noise, "two greys": (noise > 99).astype(np.uint8)}[fill]
    for one in (image, image.astype(np.uint16) * 200, image.astype(np.float32) / 255):
        found = statistics(one)
        assert found.shape == (len(NAMES),) and np.isfinite(found).all()


def test_real_images_are_accepted_and_the_others_refused(local_data) -> None:
    """A few of each kind; `benchmarks/modality.py` has the figures."""
    data = local_data / "data"
    ultrasound = (
        sorted((data / "busi").rglob("benign (*).png"))[::30] + sorted((data / "bus_bra").rglob("Images/*.png"))[::120]
    )
    mammograms = sorted((data / "mammograms_640").rglob("*.jpg"))[::35]
    for own, other, files in (("ultrasound", "mammography", ultrasound), ("mammography", "ultrasound", mammograms)):
        images = [read_image(file) for file in files if "mask" not in file.name]
        assert len(images) > 15
        assert np.mean([other_kind(image, own) is None for image in images]) >= 0.95
        assert np.mean([other_kind(image, other) is not None for image in images]) >= 0.95


@pytest.mark.parametrize("name", ["folder", "csv"])
def test_users_say_what_their_own_images_are(name: str, tmp_path) -> None:
    for label in ("benign", "malignant"):
        (tmp_path / label).mkdir()
        Image.new("L", (40, 40), 9).save(tmp_path / label / "1.png")
    table = tmp_path / "table.csv"
    table.write_text("path,label\nbenign/1.png,benign\nmalignant/1.png,malignant\n")
    kind, root = registry().get("datasets", name), {"folder": tmp_path, "csv": table}[name]
    assert call(kind, parse(name), root).info.modality == kind.info.modality == "any"
    assert call(kind, parse(f"{name}:modality=mammography"), root).info.modality == "mammography"
    with pytest.raises(UsageError, match="mamography"):
        call(kind, parse(f"{name}:modality=mamography"), root)
