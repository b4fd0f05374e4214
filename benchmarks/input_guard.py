"""How often the input guard of `mammozoo predict` warns: of held-out images (false alarms), and of images of other kinds.

    python benchmarks/input_guard.py --root BUSI [--repeats 20]

A profile is fitted on a random half of the groups and asked about the other half; repeated, mean and worst repeat.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from mammozoo.data.loaded import open_data
from mammozoo.data.ood import Profile, features, fit_profile, ood_warnings
from mammozoo.data.preprocessing import Input
from mammozoo.plugins import registry
from mammozoo.progress import Progress

Array = npt.NDArray[Any]


def mammogram(seed: int) -> Array:
    """Half an ellipse of textured tissue at the left or right edge on black, with or without muscle; 8, 12 or 16 bits."""
    rng = np.random.default_rng(seed)
    bits = int(rng.choice([8, 12, 16]))
    height = int(rng.integers(300, 900) if bits == 8 else rng.integers(900, 1600))
    width = int(height * rng.uniform(0.65, 0.9))
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(0, 1, width)[None]
    inside = 1 - (x / rng.uniform(0.35, 1.0)) ** 2 - ((y - rng.uniform(-0.25, 0.25)) / rng.uniform(0.55, 1.1)) ** 2
    breast = np.clip(inside * rng.uniform(2, 10), 0, 1)
    coarse = ndimage.gaussian_filter(rng.standard_normal((height // 8 + 1, width // 8 + 1)), rng.uniform(1, 8))
    tissue = ndimage.zoom(coarse / coarse.std(), 8, order=1)[:height, :width]
    grain = ndimage.gaussian_filter(rng.standard_normal((height, width)), 0.8)
    level = rng.uniform(0.3, 0.65) + rng.uniform(0.05, 0.2) * tissue + rng.uniform(0.01, 0.06) * grain / grain.std()
    image = breast * level
    if rng.random() < 0.5:
        image += (x < 0.3 * (1 - 1.2 * (y + 1))) * rng.uniform(0.2, 0.4) * (breast > 0.02)
    image += rng.uniform(0, 0.008) * rng.standard_normal(image.shape)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    return np.rint(np.clip(image, 0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def text_page(seed: int) -> Array:
    """Lines of dark words on white, A4 or a window."""
    rng = np.random.default_rng(seed)
    size = (420, 594) if seed % 2 else (640, 400)
    page = Image.new("L", size, 255)
    draw = ImageDraw.Draw(page)
    for line in range(30, size[1] - 30, int(rng.integers(14, 24))):
        words = " ".join("".join(rng.choice(list("aeinrst"), int(rng.integers(2, 9)))) for _ in range(60))
        draw.text((30, line), words[: int(rng.integers(30, (size[0] - 60) // 6))], fill=0)
    return np.asarray(page)


def photos() -> Iterator[Array]:
    """Crops of the two photographs that come with scikit-learn (a temple, a flower), in colour."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    for photo in load_sample_images().images:
        for _ in range(15):
            top, left = int(rng.integers(0, 127)), int(rng.integers(0, 240))
            yield np.ascontiguousarray(photo[top : top + 300, left : left + 400])


def others(busi: list[Array]) -> dict[str, list[Array]]:
    """Images that a model of ultrasound was not made for, by kind."""
    rng = np.random.default_rng(1)
    colour = list(photos())
    mammograms = [mammogram(1000 + seed) for seed in range(100)]
    shown = [m if m.dtype == np.uint8 else (m >> (4 if m.max() < 4096 else 8)).astype(np.uint8) for m in mammograms]
    noise = [rng.integers(0, 256, (int(s), int(s)), np.uint8) for s in rng.integers(200, 500, 30)]
    return {
        "colour photograph": colour,
        "the same in grey": [np.asarray(Image.fromarray(photo).convert("L")) for photo in colour],
        "synthetic mammogram, 8 to 16 bits": mammograms,
        "the same, all with 8 bits": shown,
        "noise": noise,
        "constant": [np.full((300, 400), value, np.uint8) for value in (0, 80, 128, 255)],
        "text page": [text_page(seed) for seed in range(30)],
        "icon: BUSI at 64 pixels": [_scaled(image, 64) for image in busi[::20]],
        "0 and 1 only": [(image > image.mean()).astype(np.uint8) for image in busi[::20]],
        "BUSI inverted": [255 - image for image in busi],
        "BUSI upside down": [np.ascontiguousarray(image[::-1]) for image in busi],
        "BUSI in 16 bits": [image.astype(np.uint16) * 257 for image in busi[::20] if image.ndim == 2],
        "BUSI mirrored (should pass)": [np.ascontiguousarray(image[:, ::-1]) for image in busi],
        "BUSI at 1.5 times the size (should pass)": [_scaled(image, int(1.5 * max(image.shape[:2]))) for image in busi],
    }


def _scaled(image: Array, longest: int) -> Array:
    factor = longest / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _warned(images: Array, profile: Profile | None) -> float:
    return float(np.mean([bool(ood_warnings(seen, profile)) for seen in images]))


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--repeats", type=int, default=20)
    chosen = options.parse_args()

    classes = ("benign", "malignant", "normal")
    data = open_data("busi", chosen.root, classes, Input(size=(32, 32)), "group", Progress())
    images = [data.dataset.read(sample) for sample in data.samples]
    started = time.perf_counter()
    seen = np.stack([features(image) for image in images])
    each = (time.perf_counter() - started) / len(images)
    kinds = {name: np.stack([features(image) for image in some]) for name, some in others(images).items()}
    phantom = registry().get("datasets", "phantom")(None, n=400)
    phantoms = np.stack([features(phantom.read(sample)) for sample in phantom.samples()])
    kinds["phantom (synthetic ultrasound)"] = phantoms
    large = features(np.zeros((500, 600), np.uint8))  # warm
    started = time.perf_counter()
    for _ in range(100):
        large = features(np.zeros((500, 600), np.uint8) + np.uint8(large[0]))
    print(f"features: {each * 1e3:.2f} ms an image; {(time.perf_counter() - started) * 10:.2f} ms at 500 x 600")

    numbers = np.unique(data.groups)
    alarms: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in kinds}
    limits, rng = [], np.random.default_rng(0)
    for _ in range(chosen.repeats):
        half = np.isin(data.groups, rng.permutation(numbers)[: len(numbers) // 2])
        profile = fit_profile(seen[half])
        assert profile is not None
        limits.append(profile.limit)
        alarms.append(_warned(seen[~half], profile))
        for name, some in kinds.items():
            # Of what was made from BUSI, only what comes from the other half.
            asked = some[~half] if len(some) == len(half) else some
            found[name].append(_warned(asked, profile))
    print(f"{len(images)} BUSI images, {len(numbers)} groups, {chosen.repeats} halves; limit {np.mean(limits):.2f}")
    print(f"false alarms on the other half: mean {np.mean(alarms):.2%}, worst {max(alarms):.2%}")
    print("\n| images | n | warned of, mean | least |\n|---|---|---|---|")
    for name, rates in found.items():
        print(f"| {name} | {len(kinds[name])} | {np.mean(rates):.1%} | {min(rates):.1%} |")

    of_phantoms, of_busi = fit_profile(phantoms[:200]), fit_profile(seen)
    assert of_phantoms is not None and of_busi is not None
    print(f"\nprofile of 200 phantoms: warns of {_warned(phantoms[200:], of_phantoms):.1%} of 200 others")
    far = of_phantoms.distance(seen) > of_phantoms.limit
    print(
        f"  and of {_warned(seen, of_phantoms):.1%} of BUSI, {far.mean():.1%} by distance; without: {_warned(seen, None):.1%}"
    )
    far = of_busi.distance(phantoms) > of_busi.limit
    print(f"profile of BUSI: {far.mean():.1%} of phantoms by distance; {len(of_busi.model_dump_json())} bytes of JSON")


if __name__ == "__main__":
    main()
