"""From a recipe to a plan: everything looked up, read and checked, nothing trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mammozoo.data import splits
from mammozoo.data.collection import By, Data, open_data, seen_before
from mammozoo.data.input import Input
from mammozoo.data.split_file import read_splits
from mammozoo.data.splits import LeakageError, Split
from mammozoo.data.transform import build as build_transform
from mammozoo.errors import UsageError
from mammozoo.models.build import (
    Lineage,
    build_backbone,
    build_model,
    default_weights,
    load_starting_weights,
)
from mammozoo.models.engine import Engine, choose_engine
from mammozoo.models.model import Model
from mammozoo.models.strategy import Composite, strategy
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.spec import parse
from mammozoo.training.recipe import Recipe
from mammozoo.zoo.registry import find_model

#: The stamps that every output of such a run carries.
LEAKY = "leaky split: not comparable"
SYNTHETIC = "synthetic data: says nothing about patients"


@dataclass(frozen=True)
class Plan:
    """A recipe with everything looked up and nothing trained: what `--dry-run` shows and `train` carries out."""

    recipe: Recipe
    engine: Engine
    input: Input
    data: Data
    splits: list[Split]
    stamps: tuple[str, ...]
    lineage: Lineage
    starting_state: dict[str, torch.Tensor]

    def build(self, recipe: Recipe | None = None) -> tuple[Model, Composite]:
        """A fresh model with the starting weights; its head is drawn from the seed. `recipe` is a point of the plan's own."""
        recipe = recipe or self.recipe
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            backbone = build_backbone(recipe.backbone)
            backbone.load_state_dict(self.starting_state)
            return build_model(backbone, recipe.strategy, recipe.head, self.data.classes, self.input)

    def split_counts(self) -> list[dict[str, Any]]:
        """For every split the number of samples of each class in each part."""
        return [
            {
                "name": split.name,
                **{
                    part: {
                        name: int((self.data.labels[split.part(part)] == number).sum())
                        for number, name in enumerate(self.data.classes)
                    }
                    for part in splits.PARTS
                },
            }
            for split in self.splits
        ]


def plan(recipe: Recipe, progress: Progress | None = None) -> Plan:
    """Look everything up, read the data, cut the splits and load the starting weights; train nothing.

    Raises:
        LeakageError: a group on both sides of a split, or a test image that the starting weights have seen.
        MammozooError: whatever else the recipe asks for and cannot have.
    """
    progress = progress or Progress()
    engine = choose_engine(recipe.device, recipe.precision)
    _look_up(recipe)  # before the data is read, which may take minutes
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        backbone = build_backbone(recipe.backbone)
    insists = strategy(recipe.strategy).starting_weights
    weights = default_weights(recipe.backbone) if recipe.weights == "auto" else recipe.weights
    lineage = load_starting_weights(backbone, recipe.backbone, insists or weights, find_model)
    changes: dict[str, Any] = {
        "color": recipe.color,
        "fit": recipe.fit,
        "preprocess": recipe.preprocess,
        "size": recipe.size or backbone.input.size,
    }
    input = backbone.input.model_copy(update=changes)
    by: By = "patient" if recipe.split.by == "patient" else "group"
    data = open_data(recipe.dataset, recipe.root, recipe.classes, input, by, progress)
    _check_monitor(recipe, data)
    made = make_splits(recipe, data)
    stamps = [SYNTHETIC] if data.dataset.info.synthetic or lineage.synthetic else []
    try:
        check_leakage(made, data, lineage.seen)
    except LeakageError:
        if not recipe.allow_leakage:
            raise
        stamps.append(LEAKY)
    return Plan(recipe, engine, input, data, made, tuple(stamps), lineage, backbone.state_dict())


def make_splits(recipe: Recipe, data: Data) -> list[Split]:
    """The splits that the recipe's `split` describes; by `image` every sample is a unit of its own."""
    settings = recipe.split
    units = np.arange(len(data.samples)) if settings.by == "image" else data.groups
    if settings.file is not None:
        listed = read_splits(settings.file, data.names)
        if listed.unknown:
            raise UsageError(
                f"Split file '{settings.file}' lists {len(listed.unknown)} images that '{recipe.dataset}' does not have (or whose "
                f"class is left out): {', '.join(listed.unknown[:5])}{' …' if len(listed.unknown) > 5 else ''}."
            )
        return splits.with_validation(listed.splits, data.labels, units, val=settings.val, seed=settings.seed)
    if settings.official:
        parts = [splits.official_part(sample) for sample in data.samples]
        return splits.official(parts, data.labels, units, val=settings.val, seed=settings.seed)
    if settings.inner > 1:
        return splits.nested(data.labels, units, folds=settings.folds, inner=settings.inner, seed=settings.seed)
    if settings.folds == 1:
        return splits.holdout(data.labels, units, val=settings.val, test=settings.test, seed=settings.seed)
    return splits.k_fold(data.labels, units, folds=settings.folds, val=settings.val, seed=settings.seed)


def check_leakage(made: list[Split], data: Data, seen: tuple[str, ...]) -> None:
    """Raise LeakageError if a patient or a picture is on both sides, or if the starting weights have seen a test image."""
    for split in made:
        splits.check(split, data.groups, data.names)
    known = seen_before(data, np.unique(np.concatenate([split.test for split in made])), seen)
    if len(known):
        raise LeakageError(
            f"The starting weights have already seen {len(known)} of the test images (the first is "
            f"'{data.names[known[0]]}'). Start from other weights, or set `allow_leakage: true` and have every output "
            "stamped."
        )


def _look_up(recipe: Recipe) -> None:
    """Raise for those names in a recipe that only training would miss."""
    registry().get("heads", parse(recipe.head).name)
    for transform in recipe.augment:
        build_transform(transform)
    if recipe.monitor != "loss":
        registry().get("metrics", recipe.monitor)


def _check_monitor(recipe: Recipe, data: Data) -> None:
    if recipe.monitor == "loss":
        return
    if recipe.monitor not in registry().get("metrics", recipe.monitor).keys(data.classes):
        raise UsageError(
            f"`monitor: {recipe.monitor}` is a score of two classes, and there are {len(data.classes)}. Say loss, auc or "
            "balanced-accuracy."
        )
