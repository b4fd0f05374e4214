"""Masks as people have them: two values, labels, colours, and the noise of JPEG."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mammozoo.data.io.images import read_mask

LABELS = np.zeros((60, 80), np.int64)
LABELS[10:30, 10:30], LABELS[35:50, 20:40], LABELS[20:50, 50:75], LABELS[5:7, 60:62] = 1, 2, 3, 1
LESION = LABELS > 0


@pytest.mark.parametrize(
    "levels",
    [(0, 1, 1, 1), (0, 255, 255, 255), (0, 1, 2, 3), (0, 1, 1, 2), (0, 128, 255, 255), (0, 100, 200, 255), (0, 64, 128, 255),
     (0, 85, 170, 255), (0, 255, 128, 40), (0, 3, 200, 255), (0, 300, 40_000, 65_535), (1, 2, 3, 4), (16, 235, 235, 235)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_every_label_counts(tmp_path, levels: tuple[int, ...], suffix: str) -> None:
    Image.fromarray(np.array(levels)[LABELS].astype(np.uint16 if max(levels) > 255 else np.uint8)).save(
        path := tmp_path / f"a.{suffix}"
    )
    np.testing.assert_array_equal(read_mask(path), LESION)


def test_colours_of_a_palette_count(tmp_path) -> None:
    image = Image.fromarray(LABELS.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 255, 0, 0, 0, 64])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), LESION)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("levels", [(0, 255, 255, 255), (0, 128, 255, 255)], ids=str)
def test_the_noise_of_jpeg_does_not_count(tmp_path, mode: str, quality: int, levels: tuple[int, ...]) -> None:
    """Nor in a PNG that was made of a JPEG."""
    buffer = io.BytesIO()
    large = np.array(levels)[LABELS].astype(np.uint8).repeat(4, 0).repeat(4, 1)
    Image.fromarray(large).convert(mode).save(buffer, "JPEG", quality=quality, subsampling=0)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    Image.open(buffer).save(tmp_path / "b.png")
    for name in ("a.jpg", "b.png"):
        found = read_mask(tmp_path / name)
        assert (found != (large > 0)).mean() < (0.002 if max(levels[1:]) == min(levels[1:]) or quality > 50 else 0.01)


def test_smoothed_edges_are_cut_in_their_middle(tmp_path) -> None:
    wide = Image.fromarray((255 * LESION).astype(np.uint8)).resize((400, 300), Image.Resampling.BILINEAR)
    wide.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), np.asarray(wide) > 127.5)


@pytest.mark.parametrize(("values", "lesion"), [(0, False), (1, True), (255, True)])
def test_one_level(tmp_path, values: int, lesion: bool) -> None:
    Image.new("L", (20, 30), values).save(tmp_path / "a.png")
    assert (found := read_mask(tmp_path / "a.png")).dtype == bool
    assert (found == lesion).all()


def test_a_single_faint_pixel_is_noise(tmp_path) -> None:
    values: npt.NDArray[Any] = np.zeros((20, 20), np.uint8)
    values[5:10, 5:10], values[0, 0] = 255, 9
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), values == 255)
