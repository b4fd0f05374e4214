"""Transforms by hand: what each does to pixels whose answer is known."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mammozoo.data.transforms import build, transform_spec
from mammozoo.errors import UsageError
from mammozoo_basics.augmentations import AUGMENTATIONS
from mammozoo_basics.scanner import SCANNER
from mammozoo_basics.transforms import TRANSFORMS

Pixels = npt.NDArray[Any]


def apply(text: str, pixels: Pixels, seed: int = 0) -> Pixels:
    return build(text)(pixels, np.random.default_rng(seed))


def grey(rows: list[list[int]], dtype: type[Any] = np.uint8) -> Pixels:
    return np.array(rows, dtype)[..., None]


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(7).integers(0, 256, shape).astype(np.uint8)


def test_min_max_stretches_the_image_s_own_range() -> None:
    assert apply("min-max", grey([[50, 101, 152]])).ravel().tolist() == [0, 128, 255]
    deep = apply("min-max", grey([[1000, 2000, 3000, 5000]], np.uint16))
    assert deep.ravel().tolist() == [0, 64, 128, 255] and deep.dtype == np.uint8
    assert not apply("min-max", np.full((3, 4, 1), 9, np.uint8)).any()


def test_gcn_normalises_and_takes_away_gain_and_offset() -> None:
    """80 and 120 have mean 100 and deviation 20: one deviation is 127.5 / 3 = 42.5 grey levels from 127.5."""
    pixels = grey([[80, 120] * 8])
    assert sorted(set(apply("gcn", pixels).ravel().tolist())) == [85, 170]
    assert sorted(set(apply("gcn:spread=1", pixels).ravel().tolist())) == [0, 255]
    outlier = apply("gcn", grey([[100] * 99 + [255]]))  # nearly ten deviations out
    assert outlier.max() == 255
    pixels = noise(20, 20, 1) // 4
    changed = pixels * 2 + 40
    difference = apply("gcn", pixels).astype(int) - apply("gcn", changed).astype(int)
    assert np.abs(difference).max() <= 1
    assert (apply("gcn", np.full((4, 4, 3), 77, np.uint8)) == 128).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(5, 9), (40, 60), (5, 60)])
def test_resize_makes_a_square(height: int, width: int, channels: int) -> None:
    resized = apply("resize:size=20", np.full((height, width, channels), 90, np.uint8))
    assert resized.shape == (20, 20, channels)
    assert (resized == 90).all()


def test_resize_down_is_the_mean_over_areas_and_up_is_cubic() -> None:
    pixels = noise(6, 6, 1)
    means = pixels[..., 0].reshape(2, 3, 2, 3).mean((1, 3))
    assert np.abs(apply("resize:size=2", pixels)[..., 0] - means).max() <= 1  # it rounds once a side
    enlarged = apply("resize:size=32", np.repeat(grey([[100, 100, 100, 100, 150, 150, 150, 150]]), 8, axis=0))
    assert enlarged.min() < 100 and enlarged.max() > 150


def test_centre_crop_and_zoom_stay_in_the_middle() -> None:
    pixels = np.arange(49, dtype=np.uint8).reshape(7, 7, 1)
    assert apply("centre-crop:size=3", pixels)[..., 0].tolist() == [[16, 17, 18], [23, 24, 25], [30, 31, 32]]
    assert apply("centre-crop:size=5", pixels[:2]).shape == (2, 5, 1)
    pixels = np.zeros((80, 80, 1), np.uint8)
    pixels[30:50, 30:50] = 255
    found = apply("zoom:low=1.2,high=1.2", pixels)[..., 0] > 127
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert len(rows) == pytest.approx(24, abs=1) and len(columns) == len(rows)
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(39.5, abs=0.5)
    assert (apply("zoom:low=1,high=1", pixels) == pixels).all()


def test_denoise_removes_noise_and_keeps_the_edge() -> None:
    clean = np.zeros((64, 64, 1), np.uint8) + 60
    clean[:, 32:] = 180
    rng = np.random.default_rng(0)
    noisy = np.clip(clean + rng.normal(0, 6, clean.shape), 0, 255).astype(np.uint8)
    found = apply("denoise:strength=12", noisy)
    assert np.abs(found.astype(int) - clean).mean() < 0.5 * np.abs(noisy.astype(int) - clean).mean()
    assert int(found[32, 33, 0]) - int(found[32, 30, 0]) > 100


def test_equalize_spreads_levels_and_clahe_raises_local_contrast() -> None:
    pixels = grey([[100, 100], [101, 101]])
    assert sorted(set(apply("equalize", pixels).ravel().tolist())) == [0, 255]
    assert (apply("equalize:p=0", pixels) == pixels).all()
    ramp = np.tile(np.linspace(100, 130, 64).astype(np.uint8), (64, 1))[..., None]
    found = apply("clahe", ramp)
    assert found.std() > ramp.std() and found.shape == ramp.shape


def test_brightness_multiplies_by_one_factor_and_stops_at_white() -> None:
    pixels = np.tile(np.array([10, 100, 250], np.uint8), (4, 1))[..., None]
    assert apply("brightness:low=0.6,high=0.6,p=1", pixels)[0].ravel().tolist() == [6, 60, 150]
    assert apply("brightness:low=1.2,high=1.2,p=1", pixels)[0].ravel().tolist() == [12, 120, 255]
    factors = [apply("brightness:p=1", np.full((1, 1, 1), 100, np.uint8), seed).item() / 100 for seed in range(200)]
    assert 0.6 <= min(factors) < 0.65 and 1.15 < max(factors) <= 1.2


def test_another_scanner_changes_grey_levels_grain_and_sharpness_within_what_was_asked() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (40, 1))[..., None]
    curved = apply("gamma:low=2,high=2,p=1", ramp)[0, :, 0]
    assert (curved == np.rint(255 * (np.arange(256) / 255) ** 2)).all()
    assert (apply("gamma:low=1,high=1,p=1", ramp) == ramp).all()
    pixels = noise(200, 200, 3)
    assert all(apply("blur:most=4,p=1", pixels, seed).std() < pixels.std() for seed in range(20))
    flat = np.full((200, 200, 3), 100, np.uint8)
    grains = [apply("grain:strength=0.3,p=1", flat, seed) for seed in range(40)]
    assert 25 < max(one.std() for one in grains) < 31 and min(one.std() for one in grains) < 5
    assert all(abs(one.mean() - 100) < 2 and (one[..., 0] == one[..., 2]).all() for one in grains)
    neighbours = [np.corrcoef(one[:, 1:, 0].ravel(), one[:, :-1, 0].ravel())[0, 1] for one in grains[:5]]
    assert min(neighbours) > 0.5


def test_calipers_are_few_bright_pixels_and_the_given_image_stays_as_it_is() -> None:
    dark = np.zeros((128, 160, 1), np.uint8)
    for seed in range(30):
        marked = apply("calipers:p=1", dark, seed)
        assert 0 < (marked > 0).mean() < 0.03 and set(np.unique(marked)[1:]) <= set(range(180, 256))
    assert not dark.any()


@pytest.mark.parametrize(
    "text",
    [
        "equalize:p=0.6",
        "brightness:p=0.6",
        "hflip:p=0.6",
        "affine:p=0.6",
        "gamma:p=0.6",
        "blur:p=0.6",
        "grain:p=0.6",
        "calipers:p=0.6",
    ],
)
def test_a_probability_is_kept(text: str) -> None:
    pixels = noise(16, 16, 1)
    changed = sum(not np.array_equal(apply(text, pixels, seed), pixels) for seed in range(200))
    assert 0.5 < changed / 200 < 0.7


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("resize", "needs a value for 'size'"),
        ("denoise:patch=6", "odd"),
        ("zoom:low=2,high=1", "low=2, high=1"),
        ("min-max:1", "takes no options"),
    ],
)
def test_options_out_of_range(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        build(text)


@pytest.mark.parametrize("name", sorted(spec.name for spec in (*TRANSFORMS, *AUGMENTATIONS, *SCANNER)))
def test_every_number_has_bounds_within_which_it_works(name: str) -> None:
    """OpenCV kills Python for 0 tiles, and asks for 10 GB for 100,000. What a bound lets through has to work."""
    spec = transform_spec(name)
    kinds = inspect.signature(spec.build, eval_str=True).parameters
    needed = {key: 40 for key, one in kinds.items() if one.default is one.empty}
    pixels = np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)
    for option, kind in kinds.items():
        bounds = [bound for one in kind.annotation.__metadata__ for bound in one.metadata]
        ends = [getattr(bound, key) for key in ("ge", "le") for bound in bounds if hasattr(bound, key)]
        assert len(ends) == 2
        for value in (-1, -1e300, 1e300, "nan", "inf", ends[0] - 1, ends[1] + 1):
            with pytest.raises(UsageError, match=option):
                build(f"{name}:" + ",".join(f"{k}={v}" for k, v in (needed | {option: value}).items()))
        for value in ends:
            paired = {"low": {"high": ends[1]}, "high": {"low": ends[0]}}.get(option, {})
            text = ",".join(f"{k}={v}" for k, v in (needed | paired | {option: value}).items())
            changed = build(f"{name}:{text}")(pixels, np.random.default_rng(0))
            assert changed.dtype == np.uint8 and changed.ndim == 3 and changed.size <= 4096 * 4096 * 3


def test_the_steps_of_falconi_in_their_order() -> None:
    """A dark 12-bit film in 16: after every step 8 bits, and 320 × 320 at the end."""
    steps: list[Callable[..., Pixels]] = [
        build(text) for text in ("min-max", "clahe", "min-max", "resize:size=328", "centre-crop:size=320", "denoise")
    ]
    pixels: Pixels = np.random.default_rng(3).integers(100, 4096, (150, 100, 1)).astype(np.uint16)
    shapes = []
    for step in steps:
        pixels = step(pixels, np.random.default_rng(0))
        shapes.append(pixels.shape)
        assert pixels.dtype == np.uint8
    assert shapes == [(150, 100, 1)] * 3 + [(328, 328, 1)] + [(320, 320, 1)] * 2
