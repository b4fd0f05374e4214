"""How well planted copies are found, by one hash alone and by mammozoo; and what the search costs as images grow in number.

    python benchmarks/near_duplicates.py --dataset busi --root DIR [--most N] [--strangers] [--json FILE]

Of each group of the data set one image is kept, so that every pair in the heap of originals and copies that is not an image
and its own copy is a mistake. Recall is the share of copies found, precision the share of found pairs that are right. The last row
draws two different changes at random for every image, with sizes of their own. `--strangers` counts instead how many pairs of
images of different patients, which cannot be copies, are taken for such; the data set may be a YAML file.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from mammozoo.data.duplicates.fingerprint import Fingerprints, collect, fingerprint
from mammozoo.data.duplicates.keypoints import COUNT
from mammozoo.data.duplicates.matching import group, near_duplicates, near_pairs
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.joined import open_dataset

Pixels = npt.NDArray[np.uint8]
_RNG = np.random.default_rng(0)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Through JPEG and back."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def cropped(pixels: Pixels, left: float, top: float, right: float, bottom: float) -> Pixels:
    """Without these shares of its sides."""
    h, w = pixels.shape
    return np.ascontiguousarray(pixels[int(top * h) : h - int(bottom * h), int(left * w) : w - int(right * w)])


def shifted(pixels: Pixels, across: float, down: float) -> Pixels:
    """Moved by these shares of its sides, black behind."""
    h, w = pixels.shape
    image = Image.new("L", (w, h))
    image.paste(Image.fromarray(pixels), (int(across * w), int(down * h)))
    return np.asarray(image)


def resized(pixels: Pixels, across: float, down: float) -> Pixels:
    """At other shares of its sides."""
    h, w = pixels.shape
    return np.asarray(Image.fromarray(pixels).resize((int(w * across), int(h * down)), Image.Resampling.BILINEAR))


def rotated(pixels: Pixels, degrees: float) -> Pixels:
    """Turned, black in the corners."""
    return np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR))


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG, quality 30": lambda p: jpeg(p, 30),
    "contrast × 1.4": lambda p: np.asarray(ImageEnhance.Contrast(Image.fromarray(p)).enhance(1.4)),
    "contrast × 0.6": lambda p: np.asarray(ImageEnhance.Contrast(Image.fromarray(p)).enhance(0.6)),
    "gamma 0.6": lambda p: (255 * (p / 255.0) ** 0.6).astype(np.uint8),
    "half the size": lambda p: resized(p, 0.5, 0.5),
    "width × 0.8": lambda p: resized(p, 0.8, 1.0),
    "cut by 2 % all around": lambda p: cropped(p, 0.02, 0.02, 0.02, 0.02),
    "cut by 5 % all around": lambda p: cropped(p, 0.05, 0.05, 0.05, 0.05),
    "cut by 10 % all around": lambda p: cropped(p, 0.1, 0.1, 0.1, 0.1),
    "top 10 % cut": lambda p: cropped(p, 0, 0.1, 0, 0),
    "each side cut by 0–10 %": lambda p: cropped(p, *_RNG.uniform(0, 0.1, 4)),
    "moved by 2 %": lambda p: shifted(p, 0.02, 0.02),
    "moved by 5 %": lambda p: shifted(p, -0.05, 0.05),
    "moved by 10 %": lambda p: shifted(p, 0.0, 0.1),
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "mirrored, JPEG 50, cut by 5 %": lambda p: cropped(jpeg(np.ascontiguousarray(p[:, ::-1]), 50), *[0.05] * 4),
    "turned by 3°": lambda p: rotated(p, 3),
    "turned by 8°": lambda p: rotated(p, 8),
    "two changes at random": lambda p: two_changes(p),
}
#: What two changes are drawn from.
CHANGES: tuple[Callable[[Pixels], Pixels], ...] = (
    lambda p: jpeg(p, int(_RNG.uniform(20, 60))),
    lambda p: np.asarray(ImageEnhance.Contrast(Image.fromarray(p)).enhance(_RNG.uniform(0.6, 1.4))),
    lambda p: (255 * (p / 255.0) ** _RNG.uniform(0.6, 1.6)).astype(np.uint8),
    lambda p: resized(p, *_RNG.uniform(0.4, 1, 2)),
    lambda p: cropped(p, *_RNG.uniform(0, 0.1, 4)),
    lambda p: shifted(p, *_RNG.uniform(-0.08, 0.08, 2)),
    lambda p: np.ascontiguousarray(p[:, ::-1]),
    lambda p: rotated(p, _RNG.uniform(-5, 5)),
)


def two_changes(pixels: Pixels) -> Pixels:
    """Two of `CHANGES`, one after the other."""
    first, second = _RNG.choice(len(CHANGES), 2, replace=False)
    return CHANGES[second](CHANGES[first](pixels))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="busi")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--most", type=int, help="how many images")
    parser.add_argument("--strangers", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.strangers:
        compare_strangers(arguments.dataset, arguments.root, arguments.most)
        return
    originals = read_one_of_each_group(arguments.dataset, arguments.root)[: arguments.most]
    before = [fingerprint(image) for image in originals]
    n = len(originals)
    print(f"{n} images, no two of one group\n\n{'copy':32} {'recall':>8} {'precision':>10} {'recall, hash alone':>20}")
    found_rows, prints = [], collect(before)
    for name, make in COPIES.items():
        prints = collect([*before, *(fingerprint(make(image)) for image in originals)])
        found = [(pair.i, pair.j) for pair in near_duplicates(prints)]
        right = sum(j == i + n for i, j in found)
        alone = sum(j == i + n for i, j in near_pairs(prints.whole).tolist())
        row = {"copy": name, "recall": right / n, "precision": right / max(1, len(found)), "hash_alone": alone / n}
        found_rows.append(row)
        print(f"{name:32} {row['recall']:8.3f} {row['precision']:10.3f} {row['hash_alone']:20.3f}")
    print(f"\n{platform.processor() or platform.machine()}, one thread\n\n{'images':>8} {'seconds':>8} {'pairs':>8}")
    costs = [cost(prints, count) for count in (1_000, 10_000, 100_000)]
    if arguments.json:
        arguments.json.write_text(json.dumps({"n": n, "copies": found_rows, "cost": costs}, indent=2) + "\n")


def compare_strangers(name: str, root: Path, most: int | None) -> None:
    """Print how many pairs of images of different patients there are, and how many of them are near in a hash and confirmed."""
    dataset = open_dataset(name, root)
    samples = [sample for sample in dataset.samples() if sample.patient][:most]
    patients = np.array([sample.patient for sample in samples])
    prints = collect([fingerprint(dataset.read(sample)) for sample in samples])
    pairs = sum(int((patients[:i] != patient).sum()) for i, patient in enumerate(patients))
    near = near_pairs(prints.whole)
    confirmed = [(pair.i, pair.j) for pair in near_duplicates(prints) if patients[pair.i] != patients[pair.j]]
    print(f"{len(samples)} images of {len(set(patients.tolist()))} patients, {pairs} pairs of different patients")
    print(f"near in the hash: {int((patients[near[:, 0]] != patients[near[:, 1]]).sum())}, confirmed: {len(confirmed)}")
    for i, j in confirmed:
        print(f"  {samples[i].image}  {samples[j].image}")


def read_one_of_each_group(name: str, root: Path) -> list[Pixels]:
    """Grey images of the data set, the first of every group."""
    dataset = open_dataset(name, root)
    samples = list(dataset.samples())
    images = [to_uint8(to_channels(dataset.read(sample), 1))[..., 0] for sample in samples]
    groups = group([s.patient for s in samples], near_duplicates(collect([fingerprint(image) for image in images])))
    return [images[first] for first in np.unique(groups, return_index=True)[1]]


def blurred_fingerprints(like: Fingerprints, count: int) -> Fingerprints:
    """As many fingerprints of images that nobody took: descriptors of real ones, mixed, 12 of 128 bits of each turned over."""
    rng = np.random.default_rng(0)
    pool = like.descriptors[like.descriptors.any(axis=2)]
    descriptors = pool[rng.integers(len(pool), size=count * COUNT)]
    for _ in range(12):
        bit = rng.integers(128, size=len(descriptors))
        descriptors[np.arange(len(bit)), bit // 64] ^= np.uint64(1) << (bit % 64).astype(np.uint64)
    return Fingerprints(
        rng.integers(1 << 63, size=count, dtype=np.uint64),
        rng.integers(1 << 63, size=(count, like.fine.shape[1]), dtype=np.uint64),
        rng.integers(256, size=(count, COUNT, 2), dtype=np.uint8),
        descriptors.reshape(count, COUNT, 2),
    )


def cost(like: Fingerprints, count: int) -> dict[str, float]:
    """Time to find all pairs among `count` fingerprints: see `blurred_fingerprints`."""
    prints = blurred_fingerprints(like, count)
    started = time.perf_counter()
    pairs = len(near_duplicates(prints))
    seconds = time.perf_counter() - started
    print(f"{count:8} {seconds:8.2f} {pairs:8}", flush=True)
    return {"images": count, "seconds": seconds, "pairs": pairs}


if __name__ == "__main__":
    main()
