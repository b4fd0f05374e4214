"""How much of an epoch is spent on anything but the network? Against the same training on batches that lie ready in memory.

    python benchmarks/epoch.py [--backbones mobilenetv2_100 resnet50] [--images 96] [--rounds 5] [--json FILE]

Speckle images of 500 x 600 pixels are written as PNG files, opened as a folder and decoded into the cache of decoded images, as
`train` does. Then one epoch of full training is timed, in turns and in one process, on

    ready         normalised float tensors, cut into batches before the clock starts
    cached        the images as the cache gives them, batched and normalised on the way
    augmented     the same, with a flip, an affine transform and a change of brightness for every image

The medians are given, and the median of the ratios to "ready" within a turn.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from predict_speed import write_images
from torch import nn

from mammozoo.data.cache import Store
from mammozoo.data.decoding import decode_cached
from mammozoo.data.loaded import open_dataset
from mammozoo.data.loader import batches
from mammozoo.data.transforms import build
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_backbone, build_model

BATCH, SIDE = 16, 224
AUGMENT = ("hflip", "affine", "brightness-contrast")


def write_folder(root: Path, count: int) -> None:
    """A folder for each of two classes."""
    for label in ("benign", "malignant"):
        (root / label).mkdir()
        write_images(root / label, count // 2)


def turns(name: str, root: Path, cache: Path) -> dict[str, Callable[[], float]]:
    """Of each way, a function that trains one epoch and returns its seconds."""
    torch.manual_seed(0)
    backbone, engine = build_backbone(name), choose_engine("cpu", "auto")
    input = backbone.input.model_copy(update={"size": (SIDE, SIDE)})
    model, strategy = build_model(backbone, "full", "gap", ("benign", "malignant"), input)
    engine.place(model)
    optimizer = torch.optim.AdamW(strategy.parameter_groups(model, 1e-4), 1e-4)
    dataset = open_dataset("folder", root)
    samples = list(dataset.samples())
    pixels = decode_cached(dataset, samples, input, lambda: None, Store(cache)).pixels
    labels, order = np.arange(len(samples)) % 2, np.arange(len(samples))
    steps = [build(text) for text in AUGMENT]
    ready = [(input.normalize(x), y) for x, y, _ in batches(pixels, labels, order, BATCH)]

    def epoch(coming: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
        model.train()
        started = time.perf_counter()
        for x, y in coming:
            optimizer.zero_grad(set_to_none=True)
            with engine.autocast():
                logits = model(x)[:, 0]
            nn.functional.binary_cross_entropy_with_logits(logits.float(), y.float()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return time.perf_counter() - started

    def loaded(augmented: bool) -> float:
        loader = batches(pixels, labels, order, BATCH, augment=steps if augmented else (), seed=0, epoch=0)
        return epoch((input.normalize(x), y) for x, y, _ in loader)

    return {"ready": lambda: epoch(ready), "cached": lambda: loaded(False), "augmented": lambda: loaded(True)}


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["mobilenetv2_100", "resnet50"])
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    load, rows = os.getloadavg()[0], []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {load:.1f} before")
    print(f"\n{given.images} images, batch {BATCH}, {given.rounds} turns\n")
    print("| network | images | seconds of an epoch | of ready batches |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        root, cache = Path(name, "images"), Path(name, "cache")
        root.mkdir()
        write_folder(root, given.images)
        for backbone in given.backbones:
            ways = turns(backbone, root, cache)
            ways["ready"]()
            found = [{way: run() for way, run in ways.items()} for _ in range(given.rounds)]
            for way in ways:
                row = {
                    "network": backbone,
                    "images": way,
                    "seconds": median(turn[way] for turn in found),
                    "ratio": median(turn[way] / turn["ready"] for turn in found),
                }
                rows.append(row)
                print(f"| {backbone} | {way} | {row['seconds']:.2f} | {row['ratio']:.2f} |", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": rows, "load": load}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
