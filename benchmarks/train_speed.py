"""How fast does mammozoo train a whole ResNet-50 on the processor, against the loops that people write by hand?

    python benchmarks/train_speed.py [--rounds 3] [--steps 4] [--compile] [--json FILE]

Random weights, 224 x 224, batch 16, AdamW, images in memory, nothing augmented. In turns, in one process:

    by hand, fp32          timm's model, a DataLoader of float tensors, NCHW, no autocast
    by hand, expert        the same with channels last and bf16 autocast
    by hand, compiled      the expert's, through torch.compile (with --compile)
    mammozoo               `fit` with the recipe's defaults: precision auto, uint8 images, class weights
    mammozoo, compiled     the same with `compile: true` (with --compile)

One step of each is run first; its time is told apart, since it holds the compilation. The medians are compared, and the
median of the ratios within a turn. `--strategy drs` trains that way in the last two rows.
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
import timm
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mammozoo.config.recipe import Recipe
from mammozoo.data.splits.make import Split
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.training.trainer import Trainer, TrainingData

SIDE = 224
#: Seconds of the very first step, and what gives the images a second of one turn.
Way = tuple[float, Callable[[], float]]


def by_hand(name: str, batch: int, steps: int, *, expert: bool = False, compiled: bool = False) -> Way:
    """A training loop as in a tutorial; with `expert` as somebody who knows torch would write it."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, num_classes=1)
    form = torch.channels_last if expert else torch.contiguous_format
    model = model.to(memory_format=form)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    run = torch.compile(model) if compiled else model
    images, labels = torch.rand(batch * steps, 3, SIDE, SIDE), (torch.arange(batch * steps) % 2).float()

    def learn(loader: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=expert):
                logits = run(x.contiguous(memory_format=form))[:, 0]
            nn.functional.binary_cross_entropy_with_logits(logits.float(), y).backward()
            optimizer.step()

    def turn() -> float:
        if compiled:  # the other compiled way has thrown its code away
            learn(first)
        started = time.perf_counter()
        learn(DataLoader(TensorDataset(images, labels), batch, shuffle=True))
        return batch * steps / (time.perf_counter() - started)

    first = [(images[:batch], labels[:batch])]
    return timed(lambda: learn(first)), turn


def ours(
    name: str,
    batch: int,
    steps: int,
    strategy_name: str,
    *,
    compiled: bool = False,
    device: str = "cpu",
    **more: object,
) -> Way:
    """`fit` for two epochs; it reports the images a second of the second one itself. `more` are fields of the recipe.

    Each fit compiles anew, from the second on with code from torch's cache: that is in its first epoch.
    """
    torch.manual_seed(0)
    fields = {"dataset": "phantom", "backbone": name, "weights": "random", "strategy": strategy_name, "batch": batch}
    fields |= {"optimizer": {"lr": 1e-4}, "epochs": 2, "size": SIDE, "compile": compiled}
    recipe = Recipe.model_validate(fields | more)
    backbone = build_backbone(name)
    input = backbone.input.model_copy(update={"size": recipe.size})
    model, strategy = build_model(backbone, recipe.strategy, recipe.head, ("benign", "malignant"), input)
    engine = choose_engine(device, recipe.precision)

    def learn(count: int) -> float:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (count + 4, *input.size, 1), np.uint8)
        labels, order = (np.arange(count + 4) % 2).astype(np.intp), np.arange(count + 4)
        split = Split("holdout", order[:count], order[count : count + 2], order[count + 2 :])
        data = TrainingData(pixels, labels, [f"image-{i}" for i in order], split)
        return Trainer(model, strategy, recipe, data, engine).fit()[-1].rate

    return timed(lambda: learn(batch)), lambda: learn(batch * steps)


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print the table; write it to --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategy", default="full")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    # A new cache, or the first step would find what an earlier run compiled.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()
    load, size = os.getloadavg()[0], (given.backbone, given.batch, given.steps)
    ways = {"by hand, fp32": by_hand(*size), "by hand, expert": by_hand(*size, expert=True)}
    if given.compile:
        ways["by hand, compiled"] = by_hand(*size, expert=True, compiled=True)
    ways["mammozoo"] = ours(*size, given.strategy)
    if given.compile:
        ways["mammozoo, compiled"] = ours(*size, given.strategy, compiled=True)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (_, turn) in ways.items():
            rates[name].append(turn())
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {load:.1f} before")
    print(
        f"{given.backbone}, {given.strategy}, batch {given.batch}, {given.steps} steps a turn, {given.rounds} turns\n"
    )
    print("| loop | first step, s | images/s | of fp32 by hand | of the expert's |\n|---|---|---|---|---|")
    rows = []
    for name, found in rates.items():
        ratios = [median(a / b for a, b in zip(found, rates[other], strict=True)) for other in list(rates)[:2]]
        first = ways[name][0]
        rows.append({"loop": name, "first": first, "rate": median(found), "of_fp32": ratios[0], "of_expert": ratios[1]})
        print(f"| {name} | {first:.1f} | {median(found):.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    if given.json is not None:
        given.json.write_text(json.dumps({"rows": rows, "load": load, **vars(given) | {"json": ""}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
