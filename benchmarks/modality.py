"""Fit the check of modality by content (`mammozoo/data/modality.json`), or measure it on the half that was kept back.

    python benchmarks/modality.py --data DATA --others OTHERS [--statistics FILE.npz] [--fit]

DATA holds `bus_bra`, `busi`, `mammograms_640` and `mini_mias` (unpacked) as their sources give them; OTHERS has a folder for each
kind (`photograph`, `screenshot`, `radiograph`, `tomography`, `drawing`) and in it one for each source, whose images stay together.
Patients and sources are divided into halves: one to fit on, one to measure on; `mammograms_640` is only measured on, since its
terms allow no more. Every image is taken as it is, and varied: crop, tone, size, letterbox, JPEG; of mammograms also the negative,
and parts without ground.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mammozoo.data import modality
from mammozoo.data.io.images import read_image, to_uint8
from mammozoo.data.loaded import open_data, open_dataset
from mammozoo.data.preprocessing import Input
from mammozoo.progress import Progress

Array = npt.NDArray[Any]
#: Kind of a row → kind of the model; those of a modality begin with its name.
KINDS = {
    "us": "ultrasound", "us-phantom": "ultrasound", "mg": "mammography", "mg-inv": "mammography:inverted",
    "mg-part": "mammography:part", "screenshot": "screenshot or drawing", "drawing": "screenshot or drawing",
}  # fmt: skip
VARIED = {"us": 2, "mg640": 3, "mgmias": 8, "us-phantom": 1, "mg-phantom": 1, "radiograph": 24}
FIXED = {"radiograph": 0, "mg640": 1}  # halves of kinds that are fitted on, or measured on, whole
MOST = 700  # rows of one kind and source that are fitted on

Row = tuple[str, str, int, str, Array]
Job = tuple[str, str, int, "Path | Array", int]


def _limited(image: Array, longest: int) -> Array:
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest))
    return np.asarray(picture)


def _crop(image: Array, rng: np.random.Generator, least: float) -> Array:
    height, width = image.shape[:2]
    shares = rng.uniform(least, 0.95, 2)
    h, w = max(16, int(height * shares[0])), max(16, int(width * shares[1]))
    y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    return np.ascontiguousarray(image[y : y + h, x : x + w])


def _letterbox(image: Array, rng: np.random.Generator) -> Array:
    height, width = image.shape[:2]
    side = int(max(height, width) * rng.uniform(1, 1.3))
    box = np.full((side, side, *image.shape[2:]), rng.choice([0, 0, 255, 128]), np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    box[y : y + height, x : x + width] = image
    return box


def _resized(image: Array, size: tuple[int, int]) -> Array:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def varied(image: Array, rng: np.random.Generator, least: float) -> Array:
    """The image after some of: mirror, crop to `least` of each side, tone, size, stretched to a square, letterbox, JPEG."""
    image = _limited(image, 1024)
    image = np.ascontiguousarray(image[:, ::-1]) if rng.random() < 0.5 else image
    if rng.random() < 0.4:
        image = _crop(image, rng, least)
    if rng.random() < 0.4:
        tone = (image / 255.0) ** np.exp(rng.uniform(-0.5, 0.5)) * rng.uniform(0.7, 1.3)
        image = np.clip(255 * tone, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        factor = rng.uniform(0.25, 1.5) if min(image.shape[:2]) > 100 else 1
        image = _resized(image, (max(24, int(image.shape[1] * factor)), max(24, int(image.shape[0] * factor))))
    if rng.random() < 0.15:
        image = _resized(image, (int(rng.choice([128, 224, 256, 384])),) * 2)
    if rng.random() < 0.25:
        image = _letterbox(image, rng)
    if rng.random() < 0.4:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(rng.integers(20, 90)))
        image = np.asarray(Image.open(file))
    return image


def part(image: Array, rng: np.random.Generator) -> Array | None:
    """A square inside a mammogram's breast, without ground."""
    for _ in range(60):
        side = int(min(image.shape) * rng.uniform(0.1, 0.4))
        y, x = (rng.integers(0, length - side + 1) for length in image.shape)
        square = image[y : y + side, x : x + side]
        if side >= 32 and ((square < 12) | (square > 250)).mean() < 0.03 and square.std() > 4:
            return np.ascontiguousarray(square)
    return None


def rows(job: tuple[int, Job]) -> list[Row]:
    """The statistics of one image and of what is made from it; none of a file that cannot be read."""
    seed, (kind, group, half, source, number) = job
    rng = np.random.default_rng(seed)
    try:
        image = _limited(to_uint8(read_image(source) if isinstance(source, Path) else source), 1300)
    except Exception as error:
        print(f"left out: {source}: {error}")
        return []
    made: list[tuple[str, str, Array]] = []
    if kind.startswith("mg"):
        image = image if image.ndim == 2 else image[..., 0]
        inverted = (image > 245).mean() > max((image < 10).mean(), 0.1)
        usual, negative = (255 - image, image) if inverted else (image, 255 - image)
        made += [
            ("mg-inv" if inverted else "mg", "original", image),
            ("mg" if inverted else "mg-inv", "inverted", 255 - image),
        ]
        for place in range(number):
            made.append(("mg", "varied", varied(usual, rng, 0.6)))
            if place % 2 == 0:
                made.append(("mg-inv", "varied", varied(negative, rng, 0.6)))
            if (square := part(usual, rng)) is not None:
                made.append(("mg-part", "part", square))
                made.append(
                    ("mg-part", "part varied", varied(square if rng.random() < 0.8 else 255 - square, rng, 0.7))
                )
    else:
        made.append((kind, "original", image))
        for _ in range(number):
            other = image
            if not kind.startswith("us"):
                grey = other.ndim == 3 and rng.random() < 0.6
                other = np.asarray(Image.fromarray(other).convert("L")) if grey else other
                other = 255 - other if rng.random() < 0.1 else other
            made.append((kind, "varied", varied(other, rng, 0.5 if kind.startswith("us") else 0.3)))
    return [(its, group, half, how, modality.statistics(one)) for its, how, one in made]


def jobs(data: Path, others: Path) -> Iterator[Job]:
    """Every image: kind, what it stays together with, half, source, and how many variations."""
    rng = np.random.default_rng(0)

    def halves(groups: Iterable[str]) -> Callable[[str], int]:
        names = sorted(set(groups))
        first = set(rng.permutation(names)[: len(names) // 2].tolist())
        return lambda group: int(group not in first)

    found: list[tuple[str, str, Path]] = []
    bus_bra = open_dataset("bus-bra", data / "bus_bra")
    found += [("us", f"busbra{s.patient}", bus_bra.path(s.image)) for s in bus_bra.samples()]
    busi = open_data(
        "busi", data / "busi", ("benign", "malignant", "normal"), Input(size=(32, 32)), "group", Progress()
    )
    found += [("us", f"busi{g}", busi.dataset.path(s.image)) for s, g in zip(busi.samples, busi.groups, strict=True)]
    found += [("mg640", f"m640{p.stem.split('_')[0]}", p) for p in sorted((data / "mammograms_640").rglob("*.jpg"))]
    films = sorted((data / "mini_mias").glob("*.pgm"))
    found += [("mgmias", f"mias{(int(p.stem[3:]) - 1) // 2}", p) for p in films]
    for folder in sorted(others.iterdir()):
        found += [(folder.name, f"{folder.name} {p.parent.name}", p) for p in sorted(folder.rglob("*.png"))]
    for kind in dict.fromkeys(kind for kind, _, _ in found):
        half = halves(group for its, group, _ in found if its == kind)
        for its, group, path in found:
            if its == kind:
                # There are two real radiographs, too few to keep one back.
                number = VARIED.get(kind, 3) if "drr" not in group else 4
                yield kind, group, FIXED.get(kind, half(group)), path, number
    for name, kind in (("ultrasound", "us-phantom"), ("mammography", "mg-phantom")):
        phantom = open_dataset(f"phantom:n=160,modality={name}", None)
        for number, sample in enumerate(phantom.samples()):
            yield kind, str(sample.patient), int(number >= 80), phantom.read(sample), 1


def fit(kinds: Array, sources: Array, x: Array) -> dict[str, Any]:
    """What `modality.json` holds, fitted on these statistics; within a kind every source counts alike."""
    from sklearn.linear_model import LogisticRegression

    rng, kept, weight = np.random.default_rng(0), [], []
    for kind in sorted(set(kinds)):
        own = sorted(set(sources[kinds == kind]))
        for source in own:
            some = rng.permutation(np.flatnonzero((kinds == kind) & (sources == source)))[:MOST]
            kept.append(some)
            prior = 2 if kind.startswith(tuple(modality.LEAST)) else 1
            weight.append(np.full(len(some), prior / len(some) / len(own)))
    chosen, weights = np.concatenate(kept), np.concatenate(weight)
    x, mean, scale = x[chosen], x[chosen].mean(axis=0), x[chosen].std(axis=0) + 1e-3
    design = modality.design(x, mean, scale)
    model = LogisticRegression(C=0.3, max_iter=300, tol=1e-3, fit_intercept=False)
    model.fit(design, kinds[chosen], sample_weight=weights * len(weights) / weights.sum())
    numbers = {"mean": mean, "scale": scale, "weights": model.coef_}
    return {"kinds": model.classes_.tolist()} | {
        name: np.round(v.astype(float), 4).tolist() for name, v in numbers.items()
    }


def main() -> None:
    """Write the file, or print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--others", type=Path, required=True)
    options.add_argument(
        "--statistics", type=Path, default=Path("modality-statistics.npz"), help="kept here between calls"
    )
    options.add_argument("--fit", action="store_true")
    chosen = options.parse_args()
    if not chosen.statistics.exists():
        with Pool() as pool:
            found = [row for some in pool.imap(rows, enumerate(jobs(chosen.data, chosen.others)), 20) for row in some]
        kind, group, half, how, x = (np.array(column) for column in zip(*found, strict=True))
        np.savez(chosen.statistics, kind=kind, group=group, half=half, how=how, x=x)
    kind, group, half, how, x = (np.load(chosen.statistics)[name] for name in ("kind", "group", "half", "how", "x"))
    names = ("mias", "m640", "busi", "busbra")
    source = np.array([next((n for n in names if g.startswith(n)), k) for g, k in zip(group, kind, strict=True)])
    kinds, back = np.array([KINDS.get(k, k) for k in kind]), half == 1
    file = Path(modality.__file__).with_name("modality.json")
    if chosen.fit:
        fitted = fit(kinds[~back], source[~back], x[~back])
        lines = [f'"{name}": {json.dumps(values)}' for name, values in fitted.items()]
        file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return
    own = {name: np.array([modality.share(row, name) for row in x[back]]) for name in modality.LEAST}
    print("| images kept back | n | by a model of ultrasound | by one of mammography |\n|---|---:|---:|---:|")
    for name in sorted(set(source[back])):
        for way in ("original", "inverted", "varied", "part", "part varied"):
            some = (source[back] == name) & (how[back] == way)
            if some.any():
                rates = [f"{(own[m][some] >= least).mean():.1%}" for m, least in modality.LEAST.items()]
                print(f"| {name}, {way} | {some.sum()} | {' | '.join(rates)} |")


if __name__ == "__main__":
    main()
