"""Near-duplicates: copies are found, other images are not, and the buckets lose no pair."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from imagehash import phash
from PIL import Image, ImageEnhance

from mammozoo.data.duplicates.fingerprint import collect, fingerprint
from mammozoo.data.duplicates.matching import ALIKE, Pair, group, near_duplicates, near_pairs
from mammozoo.data.io.images import to_channels, to_uint8

Pixels = npt.NDArray[np.uint8]


def picture(seed: int) -> Pixels:
    """160 × 200: blurred blobs of its own, under speckle."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (9, 11), dtype=np.uint8)).resize((200, 160), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(blobs, float) + rng.normal(0, 12, (160, 200)), 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def contrast(pixels: Pixels, factor: float) -> Pixels:
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(pixels)).enhance(factor))


def rescaled(pixels: Pixels, across: float, down: float) -> Pixels:
    height, width = pixels.shape
    size = (round(width * across), round(height * down))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def cropped(pixels: Pixels, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Pixels:
    height, width = pixels.shape
    return pixels[int(top * height) : height - int(bottom * height), int(left * width) : width - int(right * width)]


def shifted(pixels: Pixels, across: float, down: float) -> Pixels:
    """Moved by these shares of its sides; black comes in at the edge."""
    height, width = pixels.shape
    x, y = int(across * width), int(down * height)
    inside = np.roll(pixels, (y, x), (0, 1))
    kept = np.zeros_like(pixels)
    rows, columns = slice(max(y, 0), height + min(y, 0)), slice(max(x, 0), width + min(x, 0))
    kept[rows, columns] = inside[rows, columns]
    return kept


#: How a copy is made, and the recall that we hold it to: of synthetic pictures and (the same floor) of real ones.
COPIES: dict[str, tuple[Callable[[Pixels], npt.NDArray[np.generic]], float]] = {
    "jpeg, quality 30": (lambda p: jpeg(p, 30), 0.98),
    "contrast 1.4": (lambda p: contrast(p, 1.4), 0.98),
    "contrast 0.6": (lambda p: contrast(p, 0.6), 0.98),
    "gamma 0.6": (lambda p: (255 * (p / 255.0) ** 0.6).astype(np.uint8), 0.95),
    "half the size": (lambda p: rescaled(p, 0.5, 0.5), 0.98),
    "squeezed to 80 %": (lambda p: rescaled(p, 0.8, 1), 0.98),
    "2 % cut all around": (lambda p: cropped(p, 0.02, 0.02, 0.02, 0.02), 0.98),
    "5 % cut all around": (lambda p: cropped(p, 0.05, 0.05, 0.05, 0.05), 0.95),
    "10 % cut all around": (lambda p: cropped(p, 0.1, 0.1, 0.1, 0.1), 0.95),
    "top 10 % cut": (lambda p: cropped(p, top=0.1), 0.95),
    "left 8 % cut": (lambda p: cropped(p, left=0.08), 0.95),
    "moved by 2 %": (lambda p: shifted(p, 0.02, 0.02), 0.95),
    "moved by 5 %": (lambda p: shifted(p, -0.05, 0.05), 0.95),
    "moved down by 10 %": (lambda p: shifted(p, 0, 0.1), 0.9),
    "mirrored": (lambda p: p[:, ::-1], 0.98),
    "mirrored, jpeg, contrast": (lambda p: jpeg(contrast(np.ascontiguousarray(p[:, ::-1]), 0.8), 50), 0.98),
    "as colour": (lambda p: np.stack([p] * 3, 2), 1.0),
    "as 16 bit": (lambda p: p.astype(np.uint16) * 257, 1.0),
}


def recall(originals: list[Pixels], how: Callable[[Pixels], npt.NDArray[np.generic]]) -> float:
    """Share of the originals whose copy is found when all of them lie in one heap."""
    heap = [*originals, *(how(original) for original in originals)]
    found = {(pair.i, pair.j) for pair in near_duplicates(collect([fingerprint(image) for image in heap]))}
    return sum((i, i + len(originals)) in found for i in range(len(originals))) / len(originals)


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    return [picture(seed) for seed in range(40)]


@pytest.mark.parametrize("name", COPIES)
def test_planted_copies_are_found(name: str, pictures) -> None:
    how, floor = COPIES[name]
    assert recall(pictures, how) >= floor


def test_strangers_are_left_apart_and_a_pair_says_how_it_was_found(pictures) -> None:
    assert near_duplicates(collect([fingerprint(image) for image in pictures])) == []
    original = pictures[0]
    heap = [original, original, cropped(original, 0.06, 0.06, 0.06, 0.06), original[:, ::-1], pictures[1]]
    pairs = {(p.i, p.j): p for p in near_duplicates(collect([fingerprint(image) for image in heap]))}
    assert set(pairs) == {(0, 1), (0, 2), (1, 2), (0, 3), (1, 3)} | (set(pairs) & {(2, 3)})
    same, crop, mirror = pairs[0, 1], pairs[0, 2], pairs[0, 3]
    assert (same.bits, same.view) == (0, "whole") and same.correlation == pytest.approx(1)
    assert crop.view == "inner 88 %" and crop.correlation > 0.98
    assert mirror.view == "mirrored" and mirror.correlation > 0.99


def test_constant_images_have_a_correlation() -> None:
    """Nothing to correlate: 0, not NaN; the hash alone joins them."""
    flat = np.full((40, 40), 90, np.uint8)
    (pair,) = near_duplicates(collect([fingerprint(flat), fingerprint(flat)]))
    assert pair.correlation == 0 and pair.view == "whole"


def test_real_images(busi_check) -> None:
    """Recall on every tenth image of BUSI; among all of them no pair by view is weaker than `ALIKE`."""
    samples = [image.sample for image in busi_check.facts[::10]]
    images = [to_uint8(to_channels(busi_check.dataset.read(sample), 1))[..., 0] for sample in samples]
    for name in ("jpeg, quality 30", "moved by 5 %", "mirrored"):
        how, floor = COPIES[name]
        assert recall(images, how) >= floor, name
    assert len(busi_check.groups) > 100
    assert all(pair.correlation >= ALIKE for pair in busi_check.pairs if pair.view != "whole")


@pytest.mark.parametrize("near", [0, 3, 6, 7, 8])
def test_buckets_lose_no_pair(near: int) -> None:
    """The same pairs as by comparing each with each, on hashes that crowd together."""
    rng = np.random.default_rng(near)
    marks = np.full(400, 0x0F0F_3C3C_5555_AAAA, np.uint64)
    for _ in range(7):
        marks ^= np.uint64(1) << rng.integers(0, 64, 400).astype(np.uint64)
    bits = np.bitwise_count(marks[:, None] ^ marks[None])
    expected = np.argwhere(np.triu(bits <= near, 1))
    assert near_pairs(marks, near=near).tolist() == expected.tolist()
    across = np.argwhere(bits[:300, 100:] <= near)
    assert near_pairs(marks[:300], marks[100:], near).tolist() == across.tolist()


def test_pairs_between_two_sets_and_in_small_chunks(monkeypatch) -> None:
    ours = np.array([1 << 40, 0xFFFF, 0], np.uint64)
    theirs = np.array([0xFFFF_FFFF_FFFF_FFFF, 1], np.uint64)
    assert near_pairs(ours, theirs).tolist() == [[0, 1], [2, 1]]
    assert near_pairs(ours, np.empty(0, np.uint64)).shape == (0, 2)
    assert near_pairs(np.empty(0, np.uint64)).shape == (0, 2)
    from mammozoo.data.duplicates import matching as duplicates

    marks = np.random.default_rng(0).integers(0, 4, 300, dtype=np.uint64)
    at_once = near_pairs(marks).tolist()
    monkeypatch.setattr(duplicates, "_CHUNK", 64)
    assert near_pairs(marks).tolist() == at_once and len(at_once) == 300 * 299 / 2


def test_the_hash_is_the_librarys_and_black_borders_are_trimmed_unless_the_picture_is_dark() -> None:
    assert f"{fingerprint(picture(3)).whole:016x}" == str(phash(Image.fromarray(picture(3))))
    framed = np.zeros((220, 260), np.uint8)
    framed[30:190, 20:220] = picture(3)
    assert abs(int(fingerprint(framed).thumb.mean()) - int(fingerprint(picture(3)).thumb.mean())) <= 1
    dark = np.zeros((100, 100), np.uint8)
    dark[40:60, 40:60] = 200
    assert fingerprint(dark).thumb[0, 0] == 0, "a small bright patch is not the whole picture"


# ---------------------------------------------------------------- same patient or near-duplicate: one group


def near(*pairs: tuple[int, int]) -> list[Pair]:
    return [Pair(i, j, 0, 1.0, "whole") for i, j in pairs]


def test_one_patient_or_near_duplicates_are_one_group() -> None:
    assert group(["a", "b", None, "a", None, "b"]).tolist() == [0, 1, 2, 0, 3, 1]
    assert group([None, None]).tolist() == [0, 1], "two unknown patients are not one patient"
    assert group([None] * 5, near((1, 4))).tolist() == [0, 1, 2, 3, 1]
    assert group([None, None, "p", None, "p"], near((0, 1), (1, 2))).tolist() == [0, 0, 0, 1, 0]
    assert group([]).tolist() == []
