"""What a training would do, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mammozoo.training.fit_spec import all_fits
from mammozoo.training.fold import FailedFit, FitResult, read_attempt
from mammozoo.training.prepare import PreparedRun


def describe(prepared: PreparedRun) -> dict[str, Any]:
    """Recipe, stages and splits; parameters and optimizer groups, of a grid those of its first point.

    One batch goes through its network to prove that it works.
    """
    recipe, grid = prepared.recipe.points()[0][1], prepared.recipe
    prepared = prepared.of(recipe)
    model, strategy = prepared.build(recipe)
    prepared.engine.place(model)
    pixels = torch.from_numpy(prepared.data.images.pixels[prepared.splits[0].train[: recipe.batch]])
    with torch.no_grad(), prepared.engine.autocast():
        model.eval()(prepared.input.normalize(pixels.to(prepared.engine.device)))
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [
        {
            "lr": group["lr"],
            "parameters": sum(p.numel() for p in group["params"]),
            "layers": [names[p] for p in group["params"]],
        }
        for phase in recipe.all_phases()
        for group in strategy.parameter_groups(model, phase.lr)
    ]
    return {
        "recipe": grid.model_dump(mode="json"),
        "parameters": model.parameter_counts(),
        "groups": groups,
        "stages": prepared.stage_counts(),
        "splits": prepared.split_counts(),
        "stamps": list(prepared.stamps),
    }


def list_fits(prepared: PreparedRun, run: Path | None) -> list[dict[str, Any]]:
    """The fits of a run without their stages: number, name, the values of its point, and how it ended in the folder `run`."""
    specs = all_fits(prepared)[-1][1]
    results = {spec.name: read_attempt(prepared, spec, run) if run else None for spec in specs}
    return [
        {"number": number, "name": spec.name, "settings": spec.point, "state": states(results)[spec.name]}
        for number, spec in enumerate(specs)
    ]


def states(results: Mapping[str, FitResult | FailedFit | None]) -> dict[str, str]:
    """Fit → `done`, `failed` or `to do`."""
    words = {FitResult: "done", FailedFit: "failed"}
    return {name: words.get(type(result), "to do") for name, result in results.items()}
