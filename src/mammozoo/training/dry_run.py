"""What a training would do, without training."""

from __future__ import annotations

from typing import Any

import torch

from mammozoo.training.prepare import PreparedRun


def describe(prepared: PreparedRun) -> dict[str, Any]:
    """Recipe, parameters, optimizer groups, stages and splits; one batch goes through the network to prove that it works."""
    model, strategy = prepared.build()
    prepared.engine.place(model)
    pixels = torch.from_numpy(prepared.data.images.pixels[prepared.splits[0].train[: prepared.recipe.batch]])
    with torch.no_grad(), prepared.engine.autocast():
        model.eval()(prepared.input.normalize(pixels.to(prepared.engine.device)))
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [
        {
            "lr": group["lr"],
            "parameters": sum(p.numel() for p in group["params"]),
            "layers": [names[p] for p in group["params"]],
        }
        for phase in prepared.recipe.all_phases()
        for group in strategy.parameter_groups(model, phase.lr)
    ]
    return {
        "recipe": prepared.recipe.model_dump(mode="json"),
        "parameters": model.parameter_counts(),
        "groups": groups,
        "stages": prepared.stage_counts(),
        "splits": prepared.split_counts(),
        "stamps": list(prepared.stamps),
    }
