"""Near-duplicates: copies are found, other images are not, and the buckets lose no pair."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from imagehash import phash
from PIL import Image, ImageEnhance

from mammozoo.data.duplicates.fingerprint import collect, fingerprint
from mammozoo.data.duplicates.matching import (
    AGREE,
    Pair,
    chance_limit,
    group,
    near_duplicates,
    near_pairs,
    same_pictures,
)
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.joined import open_dataset

Pixels = npt.NDArray[np.uint8]


def picture(seed: int) -> Pixels:
    """160 × 200: blurred blobs of its own, under coarse speckle."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (9, 11), dtype=np.uint8)).resize((200, 160), Image.Resampling.BICUBIC)
    speckle = np.asarray(Image.fromarray(rng.normal(0, 60, (80, 100)).astype(np.float32)).resize((200, 160)), float)
    return np.clip(np.asarray(blobs, float) + speckle, 0, 255).astype(np.uint8)


def film(seed: int, tissue: float = 0.08, outline: int | None = None) -> Pixels:
    """256 × 192: a breast on black ground, with tissue and outline of its own (or that of `outline`), and one label for all."""
    rng = np.random.default_rng(1000 + seed)
    y, x = np.mgrid[:256, :192]
    width, height = np.random.default_rng(seed if outline is None else outline).uniform(0.8, 1.1, 2) * (150, 110)
    inside = 1 - (x / width) ** 2 - ((y - 128) / height) ** 2
    grains = sum(
        Image.fromarray(rng.normal(size=(256 // s, 192 // s)).astype(np.float32)).resize(
            (192, 256), Image.Resampling.BICUBIC
        )
        * np.float32(tissue * s**0.5)
        for s in (4, 8, 16)
    )
    breast = np.where(inside > 0, 255 * np.sqrt(np.clip(inside, 0, 1)) * (0.55 + grains), 0)
    pixels = np.clip(breast, 0, 255).astype(np.uint8)
    pixels[8:24, 150:180] = np.random.default_rng(5).integers(0, 2, (2, 3)).repeat(8, 0).repeat(10, 1) * 255
    return pixels


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


def turned(pixels: Pixels, degrees: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR))


def mirrored(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1])


#: How a copy is made.
COPIES: dict[str, Callable[[Pixels], npt.NDArray[np.generic]]] = {
    "jpeg, quality 30": lambda p: jpeg(p, 30),
    "contrast 1.4": lambda p: contrast(p, 1.4),
    "contrast 0.6": lambda p: contrast(p, 0.6),
    "gamma 0.6": lambda p: (255 * (p / 255.0) ** 0.6).astype(np.uint8),
    "half the size": lambda p: rescaled(p, 0.5, 0.5),
    "squeezed to 80 %": lambda p: rescaled(p, 0.8, 1),
    "10 % cut all around": lambda p: cropped(p, 0.1, 0.1, 0.1, 0.1),
    "top 10 % cut": lambda p: cropped(p, top=0.1),
    "uneven cut": lambda p: cropped(p, 0.02, 0.09, 0.07, 0.01),
    "moved": lambda p: shifted(p, -0.05, 0.08),
    "mirrored": mirrored,
    "turned by 5°": lambda p: turned(p, 5),
    "mirrored and cut": lambda p: cropped(mirrored(p), 0.06, 0.03, 0.01, 0.08),
    "turned and jpeg": lambda p: jpeg(turned(p, -4), 40),
    "moved and squeezed": lambda p: rescaled(shifted(p, 0.06, -0.03), 0.7, 0.9),
    "cut and contrast": lambda p: contrast(cropped(p, 0.08, 0.0, 0.05, 0.05), 0.7),
    "as colour": lambda p: np.stack([p] * 3, 2),
    "as 16 bit": lambda p: p.astype(np.uint16) * 257,
}


def recall(originals: list[Pixels], how: Callable[[Pixels], npt.NDArray[np.generic]]) -> float:
    """Share of the originals whose copy is found when all of them lie in one heap."""
    heap = [*originals, *(how(original) for original in originals)]
    found = {(pair.i, pair.j) for pair in near_duplicates(collect([fingerprint(image) for image in heap]))}
    return sum((i, i + len(originals)) in found for i in range(len(originals))) / len(originals)


@pytest.fixture(scope="module", params=[picture, film])
def pictures(request) -> list[Pixels]:
    return [request.param(seed) for seed in range(8)]


def test_planted_copies_are_found_and_nothing_else(pictures) -> None:
    heap, wrong = [fingerprint(image) for image in pictures], []
    for name, how in COPIES.items():
        copies = [fingerprint(how(image)) for image in pictures]
        pairs = {(pair.i, pair.j) for pair in near_duplicates(collect([*heap, *copies]))}
        planted = {(i, i + len(heap)) for i in range(len(heap))}
        assert planted <= pairs, name
        wrong += [(name, pair) for pair in pairs - planted]
    assert len(wrong) <= 0.01 * len(COPIES) * len(heap), wrong


def test_a_pair_says_how_it_was_found(pictures) -> None:
    original = pictures[0]
    heap = [original, original, cropped(original, 0.06, 0.06, 0.06, 0.06), mirrored(original), pictures[1]]
    pairs = {(p.i, p.j): p for p in near_duplicates(collect([fingerprint(image) for image in heap]))}
    assert set(pairs) == {(i, j) for i in range(4) for j in range(i + 1, 4)}
    assert pairs[0, 1].share == 1 and not pairs[0, 1].mirrored
    assert 0.3 < pairs[0, 2].share < 1 and pairs[0, 2].how.startswith(f"{pairs[0, 2].points} keypoints agree (")
    assert pairs[0, 3].mirrored and pairs[0, 3].how.endswith(", mirrored)")


def test_pictures_without_keypoints_are_compared_by_both_hashes() -> None:
    small = [np.asarray(Image.fromarray(picture(seed)).resize((24, 20))) for seed in range(20)]
    heap = collect([fingerprint(image) for image in (*small, *(contrast(image, 0.8) for image in small))])
    assert heap.counts.max() < 12
    pairs = near_duplicates(heap)
    assert [(pair.i, pair.j) for pair in pairs] == [(i, i + 20) for i in range(20)]
    assert pairs[0].points == 0 and "fine structure" in pairs[0].how
    flat = fingerprint(np.full((40, 40), 90, np.uint8))
    assert [(pair.i, pair.j) for pair in near_duplicates(collect([flat, flat]))] == [(0, 1)]


def test_copies_of_small_pictures_are_found() -> None:
    """Of 64 pixels, also cut and turned, and beside large ones of the same."""

    def drawn(side: int) -> list[Pixels]:
        grains = [np.random.default_rng(seed).integers(0, 256, (18, 18), np.uint8) for seed in range(8)]
        return [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in grains]

    small, large = drawn(64), drawn(200)
    for name in ("jpeg, quality 30", "10 % cut all around", "mirrored and cut", "turned by 5°"):
        assert recall(small, COPIES[name]) == 1, name
    pairs = near_duplicates(collect([fingerprint(image) for image in (*large, *small)]))
    assert [(pair.i, pair.j) for pair in pairs] == [(i, i + 8) for i in range(8)]


def test_a_large_group_of_copies_is_one_group(pictures) -> None:
    """More copies than an image has candidates."""
    copies = [fingerprint(pictures[0])] * 40
    heap = collect([*copies, *(fingerprint(image) for image in pictures[1:])])
    patients = [None] * 40 + [str(seed) for seed in range(7)]
    assert group(patients, near_duplicates(heap, patients)).tolist() == [*[0] * 40, *range(1, 8)]


def test_text_that_all_images_share_raises_the_limit() -> None:
    """Half of the keypoints of every picture are one text."""
    text = picture(99)[:, :100]
    heap = [np.concatenate([picture(seed)[:, :100], text], axis=1) for seed in range(20)]
    prints = collect([fingerprint(image) for image in heap])
    assert chance_limit(prints) > 2 * AGREE and near_duplicates(prints) == []
    assert chance_limit(collect([fingerprint(picture(seed)) for seed in range(20)])) == AGREE


def test_only_pairs_of_different_patients_show_what_agrees_by_chance() -> None:
    heap = collect([fingerprint(picture(seed)) for seed in [0] * 15 + [1] * 5])
    assert chance_limit(heap, ["a"] * 15 + ["b"] * 5) == AGREE < chance_limit(heap)


def test_films_of_one_outline_share_the_hash_and_not_the_fine_one() -> None:
    """What a model's config lists of its images: a picture that was exported again is found, another woman's is not."""
    films = [film(seed, tissue=0.01, outline=0) for seed in range(20)]
    prints = collect([fingerprint(one) for one in films])
    again = collect([fingerprint(jpeg(rescaled(one, 0.6, 0.6), 60)) for one in films])
    assert len(near_pairs(prints.whole)) > 40
    same = same_pictures((prints.whole, prints.fine), (again.whole, again.fine))
    assert same.tolist() == [[i, i] for i in range(20)]


def test_real_images(local_data) -> None:
    """Copies of every tenth image of BUSI."""
    busi = open_dataset("busi", local_data / "data" / "busi")
    images = [to_uint8(to_channels(busi.read(sample), 1))[..., 0] for sample in busi.samples()[::10]]
    heap = [fingerprint(image) for image in images]
    apart = len(near_duplicates(collect(heap)))
    for name in ("mirrored and cut", "turned and jpeg"):
        found = near_duplicates(collect([*heap, *(fingerprint(COPIES[name](image)) for image in images)]))
        assert sum(pair.j == pair.i + len(images) for pair in found) >= 0.95 * len(images), name
        assert len(found) <= len(images) + 4 * apart + 1


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


def test_the_hash_is_the_librarys() -> None:
    assert f"{fingerprint(picture(3)).whole:016x}" == str(phash(Image.fromarray(picture(3))))


# ---------------------------------------------------------------- same patient or near-duplicate: one group


def near(*pairs: tuple[int, int]) -> list[Pair]:
    return [Pair(i, j) for i, j in pairs]


def test_one_patient_or_near_duplicates_are_one_group() -> None:
    assert group(["a", "b", None, "a", None, "b"]).tolist() == [0, 1, 2, 0, 3, 1]
    assert group([None, None]).tolist() == [0, 1], "two unknown patients are not one patient"
    assert group([None] * 5, near((1, 4))).tolist() == [0, 1, 2, 3, 1]
    assert group([None, None, "p", None, "p"], near((0, 1), (1, 2))).tolist() == [0, 0, 0, 1, 0]
    assert group([]).tolist() == []
