"""What the caches save: opening a data set again, and training on a frozen trunk.

Everything is measured side by side in one run, in an own cache folder that starts empty and is removed at the end.

Opening: decode, the first opening with the cache (decode and write), the second one (read and check). Generated data sets
have no files and are not cached; the pictures of one are therefore written as PNG files first, and read as a folder.

Training: `--epochs` epochs of a head on a frozen network with random weights, by the loop of `training/feature_cache/features.py`:
without a cache, on plain cached activations, and on `--views` augmented views. The first time of each cache includes the
pass that fills it; "again" starts a new fit on what is stored, as another fold or grid point would.

    python benchmarks/caching.py --json caching.json
    python benchmarks/caching.py --dataset busi --root PATH --epochs 30
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mammozoo.data import cache as store_module
from mammozoo.data.cache import Store
from mammozoo.data.dataset import Dataset
from mammozoo.data.decoding import decode, decode_cached
from mammozoo.data.loaded import open_dataset
from mammozoo.data.loader import batches
from mammozoo.data.preprocessing import Input, Pixels
from mammozoo.data.transforms import build
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo.training.feature_cache.features import FrozenTrunk, find_trunk

AUGMENT = ("hflip", "affine", "brightness-contrast")
BATCH = 16
Row = dict[str, Any]


def clock(run: Callable[[], object]) -> float:
    """Seconds that `run` takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def as_files(dataset: Dataset, folder: Path) -> Dataset:
    """A generated data set as PNG files in folders named by class."""
    for number, sample in enumerate(dataset.samples()):
        path = folder / sample.label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dataset.read(sample)).save(path)
    return open_dataset("folder", folder)


def open_as_new(dataset: Dataset, input: Input, store: Store) -> None:
    """Open as a new process would, which has not checked the stored bytes yet; listing the files is part of it."""
    store_module._opened.clear()
    decode_cached(dataset, list(dataset.samples()), input, store=store)


def measure_opening(dataset: Dataset, input: Input, store: Store) -> tuple[list[Row], Pixels]:
    """Times of opening, and the pixels."""
    samples = list(dataset.samples())
    plain = clock(lambda: decode(dataset, samples, input))
    first = clock(lambda: decode_cached(dataset, samples, input, store=store))
    again = min(clock(lambda: open_as_new(dataset, input, store)) for _ in range(3))
    rows = [("decoded", plain), ("cached, first", first), ("cached, again", again)]
    images = decode_cached(dataset, samples, input, store=store)
    return [{"what": what, "seconds": s, "ratio": plain / s} for what, s in rows], images.pixels


def train(
    model: Model,
    engine: Engine,
    pixels: Pixels,
    epochs: int,
    augment: tuple[str, ...],
    trunk: FrozenTrunk | None = None,
    **cache: Any,
) -> list[float]:
    """Seconds of each epoch: all images once, and all images once more in evaluation mode, as validation is."""
    labels = np.arange(len(pixels)) % 2
    everything = np.arange(len(pixels))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    kept = trunk.cached(pixels, augment=augment, **cache) if trunk is not None else None
    steps = [build(name) for name in augment]

    def epoch(number: int) -> None:
        model.train()
        order = np.random.default_rng([0, number]).permutation(everything)
        if trunk is not None and kept is not None:
            for start in range(0, len(order), BATCH):
                chunk = order[start : start + BATCH]
                step(kept.trunk.logits(kept.batch(chunk, kept.view_of(number))), torch.from_numpy(labels[chunk]))
            kept.logits(everything, BATCH)
            return
        for images, target, _ in batches(pixels, labels, order, BATCH, augment=steps, seed=0, epoch=number):
            with engine.autocast():
                logits = model(model.backbone.input.normalize(images.to(engine.device)))
            step(logits, target)
        engine.logits(model, batches(pixels, labels, everything, BATCH), model.backbone.input)

    def step(logits: torch.Tensor, target: torch.Tensor) -> None:
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.to(engine.device).float()[:, None])
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return [clock(lambda number=number: epoch(number)) for number in range(epochs)]  # type: ignore[misc]


def measure_training(given: argparse.Namespace, pixels: Pixels, store: Store) -> list[Row]:
    """Seconds of a fit without a cache and with each kind; uncached fits are scaled up from `--sample` epochs."""
    engine = choose_engine(given.device, given.precision)
    torch.manual_seed(0)
    backbone = build_backbone(given.backbone)
    input = backbone.input.model_copy(update={"size": (given.size, given.size)})
    model, _ = build_model(backbone, given.strategy, "gap", ("a", "b"), input)
    engine.place(model)
    trunk = find_trunk(model, engine)
    if trunk is None:
        raise SystemExit(f"{given.backbone} with {given.strategy} has no trunk worth caching")
    rows: list[Row] = []
    for name, augment in (("plain", ()), (f"{given.views} views", AUGMENT)):
        sampled = train(model, engine, pixels, min(given.sample, given.epochs), augment)
        without = float(np.median(sampled)) * given.epochs
        rows.append({"what": f"{name}, no cache", "seconds": without, "ratio": 1.0})
        for when in ("first", "again"):
            seconds = sum(train(model, engine, pixels, given.epochs, augment, trunk, views=given.views, store=store))
            rows.append({"what": f"{name}, cached, {when}", "seconds": seconds, "ratio": without / seconds})
    return rows


def main() -> None:
    """Print the tables; write them to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="phantom:n=400")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--strategy", default="frozen")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--sample", type=int, default=1, help="epochs without a cache that are really run")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    print(f"{given.dataset}, {given.backbone} {given.strategy}, {given.size} pixels, {given.precision}, "
          f"threads: {torch.get_num_threads()}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "cache")
        dataset = open_dataset(given.dataset, given.root)
        if dataset.root is None:
            dataset = as_files(dataset, Path(folder) / "images")
        opening, pixels = measure_opening(dataset, Input(size=(given.size, given.size)), store)
        _show(f"opening {len(pixels)} images", opening)
        training = measure_training(given, pixels, store)
        _show(f"training {given.epochs} epochs", training)
        assert store.folder is not None
        sizes = [sum(file.stat().st_size for file in entry.iterdir()) for entry in store.folder.iterdir()]
        print(f"\n{len(sizes)} entries, {sum(sizes) / 1e6:.1f} MB")
        del pixels  # mapped from the folder that goes now
    if given.json is not None:
        content = {
            "settings": {key: str(value) for key, value in vars(given).items() if key != "json"},
            "threads": torch.get_num_threads(), "processors": os.cpu_count(), "torch": torch.__version__,
            "opening": opening, "training": training, "bytes": sum(sizes),
        }  # fmt: skip
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _show(title: str, rows: list[Row]) -> None:
    print(f"\n| {title} | seconds | times faster |\n|---|---|---|")
    for row in rows:
        print(f"| {row['what']} | {row['seconds']:.2f} | {row['ratio']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
