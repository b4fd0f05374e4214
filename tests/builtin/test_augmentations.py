"""An augmentation gives the same distribution image by image, on the processor, and for whole batches, on a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from mammozoo.data.on_card import augmented, batched_forms, draw
from mammozoo.data.transforms import build
from mammozoo_basics.augmentations import AUGMENTATIONS
from mammozoo_basics.scanner import SCANNER

HEIGHT, WIDTH, DRAWS = 33, 44, 1500
CHAINS = (
    ("hflip",),
    ("vflip:p=0.3",),
    ("affine",),
    ("affine:degrees=40,shift=0.25,scale=0.3,shear=20,p=1",),
    ("affine:degrees=0,shift=0,scale=0.3,p=1",),
    ("zoom:low=0.7,high=1.4",),
    ("brightness-contrast",),
    ("brightness:p=0.6",),
    ("equalize:p=0.4",),
    ("gamma:low=0.5,high=2",),
    ("blur:most=3",),
    ("grain:strength=0.4,p=0.8",),
    ("grain:strength=0.4,size=0,p=1",),
    ("hflip", "affine", "brightness-contrast"),
)


def picture(channels: int) -> np.ndarray:
    """Smooth, bright to one side, with a blob: every map of positions and of grey levels shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    blob = np.exp(-((x - 12) ** 2 / 40 + (y - 10) ** 2 / 90))
    grey = 30 + 2.1 * x + 1.3 * y + 90 * blob
    return np.stack([grey * factor for factor in (1, 0.8, 0.6)[:channels]], 2).round().astype(np.uint8)


def one_by_one(names: tuple[str, ...], image: np.ndarray, n: int) -> np.ndarray:
    steps, results = [build(name) for name in names], []
    for number in range(n):
        pixels, rng = image, np.random.default_rng([7, number])
        for step in steps:
            pixels = step(pixels, rng)
        results.append(pixels)
    return np.stack(results).astype(np.float64)


def together(names: tuple[str, ...], image: np.ndarray, n: int, epoch: int = 0) -> np.ndarray:
    forms = batched_forms([build(name) for name in names])
    assert forms is not None
    rows = draw(forms, n, seed=3, epoch=epoch, device=torch.device("cpu"))
    return augmented(torch.from_numpy(np.stack([image] * n)), forms, rows).double().numpy()


def described(images: np.ndarray) -> np.ndarray:
    """(n, 10): level, contrast, where and how the brightness lies, and how rough it is."""
    grey = images.mean(3)
    y, x = np.mgrid[:HEIGHT, :WIDTH] - np.array([HEIGHT / 2, WIDTH / 2])[:, None, None]
    total = grey.sum((1, 2))
    moments = [
        (grey * weight).sum((1, 2)) / total
        for weight in (x, y, x * x, y * y, x * y, (x / WIDTH) ** 2 - (y / HEIGHT) ** 2)
    ]
    rough = np.abs(np.diff(grey, axis=2)).mean((1, 2))
    return np.stack([grey.mean((1, 2)), grey.std((1, 2)), *moments, grey[:, 5, 9], rough], 1)


def test_all_that_is_random_but_marks_has_a_form_for_batches() -> None:
    with_forms = [spec for spec in (*AUGMENTATIONS, *SCANNER) if spec.name != "calipers"]
    assert batched_forms([build(spec.name) for spec in with_forms]) is not None
    assert batched_forms([build("hflip"), build("clahe")]) is None
    assert {chain.partition(":")[0] for names in CHAINS for chain in names} == {spec.name for spec in with_forms}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("names", CHAINS, ids=" ".join)
def test_both_forms_have_one_distribution(names: tuple[str, ...], channels: int) -> None:
    image = picture(channels)
    singly, batched = one_by_one(names, image, DRAWS), together(names, image, DRAWS)
    assert batched.shape == singly.shape and batched.min() >= 0 and batched.max() <= 255
    for a, b in zip(described(singly).T, described(np.rint(batched)).T, strict=True):
        assert ks_2samp(a, b).pvalue > 1e-3
    error = np.sqrt((singly.var(0) + batched.var(0)) / DRAWS)
    assert (np.abs(singly.mean(0) - batched.mean(0)) < 5 * error + 0.6).all()


@pytest.mark.parametrize(
    "name",
    ["zoom:low=1.3,high=1.3", "zoom:low=0.6,high=0.6", "brightness:low=1.4,high=1.4,p=1", "equalize", "hflip:p=1"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_without_chance_both_forms_give_one_image(name: str, channels: int) -> None:
    image = picture(channels)
    difference = np.abs(one_by_one((name,), image, 1) - together((name,), image, 1))
    assert difference.max() <= 1.0  # OpenCV interpolates in steps of 1/32 pixel


def test_equalizing_a_constant_image_leaves_it() -> None:
    flat = np.full((HEIGHT, WIDTH, 1), 9, np.uint8)
    assert np.array_equal(one_by_one(("equalize",), flat, 1), together(("equalize",), flat, 1))


def test_an_image_is_drawn_by_seed_epoch_and_number_alone() -> None:
    names = ("affine", "brightness-contrast")
    first, second = (together(names, picture(1), 6, epoch) for epoch in (0, 1))
    assert np.array_equal(first, together(names, picture(1), 6)) and not np.isclose(first, second).all()
    assert len({image.tobytes() for image in first}) > 3
