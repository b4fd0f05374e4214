"""What fits start from: a network, its weights and the size of its images. Points of a grid may differ in all three."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mammozoo.config.recipe import Recipe
from mammozoo.errors import UsageError
from mammozoo.models.backbone import Backbone
from mammozoo.models.factory import build_backbone, build_strategy, default_weights
from mammozoo.models.randomness import seeded


class Start(NamedTuple):
    """A backbone, the weights that are loaded into it, and the size of its images; None for the backbone's own."""

    backbone: str
    weights: str
    size: tuple[int, int] | None


def start_of(recipe: Recipe) -> Start:
    """The start of a point of the grid; its weights are those that the first stage's strategy requires, else the recipe's.

    Raises:
        UsageError: a strategy requires others than the recipe names, or in a later stage.
    """
    first, *later = [*(recipe.of_stage(number) for number in range(len(recipe.stages))), recipe]
    for stage in later:
        if (weights := build_strategy(stage.strategy).starting_weights) is not None:
            raise UsageError(
                f"Strategy '{stage.strategy}' starts from {weights} weights, so what the stages before '{stage.name}' have "
                "learnt would be lost. Give it another strategy, or leave the stages out."
            )
    required = build_strategy(first.strategy).starting_weights
    if required is not None and recipe.weights not in ("auto", required):
        raise UsageError(
            f"Strategy '{first.strategy}' starts from {required} weights, and the recipe names '{recipe.weights}'. Leave "
            "the weights out, or choose another strategy, such as full."
        )
    named = default_weights(recipe.backbone) if recipe.weights == "auto" else recipe.weights
    return Start(recipe.backbone, required or named, recipe.size)


def all_starts(recipe: Recipe) -> list[Start]:
    """The different starts of the points, in their order.

    Raises:
        UsageError: as `start_of`; or there are several, and earlier stages, which all points share.
    """
    starts = list(dict.fromkeys(start_of(point) for _, point in recipe.points()))
    if recipe.stages and len(starts) > 1:
        one, other = (f"{start.backbone} from {start.weights}" for start in starts[:2])
        raise UsageError(
            f"With earlier stages all points of a grid start from one network at one size, and here {one} and {other}. Make "
            "several runs."
        )
    return starts


def draw_backbone(start: Start, recipe: Recipe) -> tuple[Backbone, dict[int, torch.Tensor]]:
    """The network drawn from the recipe's seed, and for the seed of every repeat the generator state after drawing it."""
    states = {}
    for seed in reversed(range(recipe.seed, recipe.seed + recipe.repeats)):
        with seeded(seed):
            backbone = build_backbone(start.backbone)
            states[seed] = torch.get_rng_state()
    return backbone, states
