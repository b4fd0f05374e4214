"""Same patient or nearly the same picture: one group."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageEnhance

from mammozoo.data.grouping import NEAR, group, near_pairs, perceptual_hash

Pixels = npt.NDArray[np.uint8]


def picture(seed: int) -> Pixels:
    """128 × 128: blurred blobs of its own, under speckle."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (7, 7), dtype=np.uint8)).resize((128, 128), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(blobs, float) + rng.normal(0, 12, (128, 128)), 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def contrast(pixels: Pixels, factor: float) -> Pixels:
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(pixels)).enhance(factor))


def resized(pixels: Pixels, size: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


COPIES = {
    "contrast": lambda p: contrast(p, 1.2),
    "jpeg": lambda p: jpeg(p, 40),
    "smaller": lambda p: resized(p, 90),
    "contrast, jpeg and size": lambda p: jpeg(contrast(resized(p, 100), 0.85), 60),
    "brighter": lambda p: np.clip(p.astype(int) + 20, 0, 255).astype(np.uint8),
    "as colour": lambda p: np.stack([p] * 3, 2),
    "16 bit": lambda p: p.astype(np.uint16) * 257,
}


def hashes(images: list[npt.NDArray[np.generic]]) -> npt.NDArray[np.uint64]:
    return np.array([perceptual_hash(image) for image in images], np.uint64)


@pytest.mark.parametrize("how", COPIES)
def test_a_planted_copy_joins_its_original(how: str) -> None:
    images = [picture(seed) for seed in range(10)]
    found = group([None] * 11, hashes([*images, COPIES[how](images[4])]))
    assert found.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 4]


def test_one_patient_is_one_group() -> None:
    assert group(["a", "b", None, "a", None, "b"], None).tolist() == [0, 1, 2, 0, 3, 1]
    assert group([None, None], None).tolist() == [0, 1], "two unknown patients are not one patient"


def test_groups_are_transitive() -> None:
    """0 and 1 are near, 1 and 2 are near, 0 and 2 are not; 2 and 4 share a patient; 3 stands alone."""
    far = 0xAAAA_AAAA_0000_0000
    marks = np.array([0, 0b111111, 0b111111_111111, far, ~np.uint64(0)], np.uint64)
    assert group([None, None, "p", None, "p"], marks).tolist() == [0, 0, 0, 1, 0]
    assert group([None] * 5, marks).tolist() == [0, 0, 0, 1, 2]


def test_the_limit() -> None:
    assert NEAR == 6
    near, far = (1 << 6) - 1, (1 << 7) - 1
    assert near_pairs(np.array([0, near], np.uint64)).tolist() == [[0, 1]]
    assert near_pairs(np.array([0, far], np.uint64)).tolist() == []
    top = np.array([0, 1 << 63], np.uint64)
    assert near_pairs(top, near=0).tolist() == []
    assert near_pairs(top, near=1).tolist() == [[0, 1]]


@pytest.mark.parametrize("n", [0, 1, 511, 513, 1100])
def test_pairs_across_the_blocks(n: int) -> None:
    """More hashes than are compared at once: the same pairs as one by one."""
    rng = np.random.default_rng(n)
    marks = rng.integers(0, 2**63, n, dtype=np.uint64)
    expected = set()
    if n > 20:
        for a, b in rng.choice(n, (10, 2), replace=False).tolist():
            marks[b] = marks[a] ^ np.uint64(0b1011)
            expected.add((min(a, b), max(a, b)))
    assert {tuple(pair) for pair in near_pairs(marks).tolist()} == expected
    assert len(np.unique(group([None] * n, marks))) == n - len(expected)


def test_pairs_between_two_sets() -> None:
    ours = np.array([1 << 40, 0xFFFF, 0], np.uint64)
    theirs = np.array([0xFFFF_FFFF_FFFF_FFFF, 1], np.uint64)
    assert near_pairs(ours, theirs).tolist() == [[0, 1], [2, 1]]
    assert near_pairs(ours, np.empty(0, np.uint64)).shape == (0, 2)


def test_different_pictures_stay_apart() -> None:
    assert group([None] * 40, hashes([picture(seed) for seed in range(40)])).tolist() == list(range(40))


def test_hash_is_that_of_the_library() -> None:
    from imagehash import phash

    pixels = picture(1)
    assert f"{perceptual_hash(pixels):016x}" == str(phash(Image.fromarray(pixels)))
