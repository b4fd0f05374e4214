"""How long a training will take, from a few batches on this machine."""

from __future__ import annotations

import time

import torch

from mammozoo.config.recipe import Recipe
from mammozoo.models.randomness import kept_generators
from mammozoo.training.fit_spec import FitSpec, all_fits, needed
from mammozoo.training.loss import Loss
from mammozoo.training.prepare import PreparedRun

#: Images through the network, below which nobody asks how long it takes.
_FEW = 5_000
_STEPS = 2


def estimate(prepared: PreparedRun, fits: str = "") -> str:
    """A line such as `About 18 minutes at most …` on a run, or some `fits` of it; empty for short trainings and on a card.

    A card warms up for longer than it trains, so its first steps tell nothing.
    """
    stages = needed(all_fits(prepared), fits)
    specs = [spec for _, of_stage in stages for spec in of_stage]
    if sum(map(_images, specs)) < _FEW or prepared.engine.device.type != "cpu":
        return ""
    cached = prepared.recipe.cache and not prepared.recipe.augment
    seconds = 0.0
    for one in (prepared, *prepared.others):
        own = [spec for stage, of_stage in stages for spec in of_stage if stage.of(spec.recipe).start == one.start]
        if not own:
            continue
        step, forward, frozen = _seconds(one, own[-1].recipe)
        if frozen and cached:
            seconds += len(prepared.data.samples) * forward  # features are computed once, for all fits
        else:
            judged = sum(len(spec.split.val) * sum(p.epochs for p in spec.recipe.all_phases()) for spec in own)
            seconds += sum(map(_images, own)) * step + judged * forward
    count = f"{len(specs)} fits" if len(specs) > 1 else "one fit"
    return (
        f"About {max(1, round(seconds / 60))} minutes at most for {count}, by what a few batches took on this machine."
    )


def _images(spec: FitSpec) -> int:
    """How many times an image goes through the network to train it."""
    return len(spec.split.train) * sum(phase.epochs for phase in spec.recipe.all_phases())


def _seconds(prepared: PreparedRun, recipe: Recipe) -> tuple[float, float, bool]:
    """(seconds of a training step, of a forward pass, each for one image; whether the backbone is frozen)."""
    split = prepared.splits[0]
    with kept_generators():
        model, _ = prepared.build(recipe)
        frozen = not any(parameter.requires_grad for parameter in model.backbone.parameters())
        prepared.engine.place(model, 0)
        some = split.train[: recipe.batch]
        loss = Loss(prepared.data.labels[split.train], len(model.classes), False, prepared.engine.device)
        images = prepared.input.normalize(torch.from_numpy(prepared.data.images.pixels[some]))
        labels = torch.from_numpy(prepared.data.labels[some])
        times = []
        for _ in range(_STEPS + 1):
            start = time.perf_counter()
            with prepared.engine.autocast():
                logits = model.train()(images)
            loss(logits, labels).backward()  # type: ignore[no-untyped-call]
            times.append(time.perf_counter() - start)
        start = time.perf_counter()
        with torch.no_grad(), prepared.engine.autocast():
            model.eval()(images)
        return min(times[1:]) / len(some), (time.perf_counter() - start) / len(some), frozen
