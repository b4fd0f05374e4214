"""From a model to its diagnosis, beside another model or beside the weights that its training started from."""

from __future__ import annotations

from pathlib import Path

import torch

from mammozoo.config.recipe import load
from mammozoo.errors import IncompatibleError, MammozooError
from mammozoo.evaluation.diagnosis import Diagnosis, activity, block_ends, draw_images, shifts
from mammozoo.models.backbone import Backbone
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_backbone, build_strategy, default_weights, load_model, load_starting_weights
from mammozoo.models.randomness import seeded
from mammozoo.progress import Progress
from mammozoo.zoo.registry import find_model


def diagnose(
    model: str,
    dataset: str,
    root: Path | None = None,
    *,
    against: str | None = None,
    images: int = 100,
    seed: int = 0,
    batch: int = 8,
    device: str = "auto",
    progress: Progress | None = None,
) -> Diagnosis:
    """Block by block: how much of a network is active on images of a data set, what training changed, what was moved.

    `against` names another model with the same blocks; without it, the starting weights if the run leads to them.

    Raises:
        IncompatibleError: the two models have other blocks or another input.
        NotFoundError, UsageError: no such model or data set.
    """
    progress = progress or Progress()
    folder = find_model(model)
    network, config = load_model(folder)
    ends = block_ends(config.backbone)
    other: Backbone | None
    if against is not None:
        other_model, other_config = load_model(find_model(against))
        if config.input != other_config.input or ends != block_ends(other_config.backbone):
            sides = [f"({c.backbone}, {c.input.size[0]}×{c.input.size[1]})" for c in (config, other_config)]
            raise IncompatibleError(
                f"'{model}' {sides[0]} and '{against}' {sides[1]} have other blocks or look at other inputs; a diagnosis "
                "needs the same ones."
            )
        other = other_model.backbone
    else:
        other = _starting_backbone(folder, config, progress)
    engine = choose_engine(device, "fp32")  # rounding to bfloat16 would move signs
    pixels = draw_images(config, dataset, root, images, seed, progress)
    networks = [n.to(engine.device).eval() for n in (network.backbone, other) if n is not None]
    batches = (config.input.normalize(part.to(engine.device)) for part in torch.split(pixels, batch))
    with engine.autocast():
        blocks = activity(networks[0], ends, batches, *networks[1:])
    moved = shifts(config, network.backbone.state_dict(), ends)
    beside = against or ("its starting weights" if other is not None else None)
    return Diagnosis(folder.name, beside, len(pixels), blocks, moved)


def _starting_backbone(folder: Path, config: ModelConfig, progress: Progress) -> Backbone | None:
    """The plain network with the weights that a run started from; None, with a note, if its folder does not lead to them."""
    try:
        if config.training.stages:
            raise MammozooError("it went through earlier stages")
        recipe = load(str(folder / "recipe.yaml"))
        weights = default_weights(recipe.backbone) if recipe.weights == "auto" else recipe.weights
        weights = build_strategy(recipe.strategy).starting_weights or weights
        with seeded(recipe.seed):  # as training does, so that random weights are the same
            backbone = build_backbone(recipe.backbone)
        load_starting_weights(backbone, recipe.backbone, weights, find_model)
    except MammozooError as error:
        progress.note(f"Without --against there are no change rates: the starting weights are not at hand ({error}).")
        return None
    backbone.input = config.input
    return backbone
