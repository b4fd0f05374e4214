"""From a recipe to a plan: everything looked up, read and checked, nothing trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mammozoo.config.names import parse
from mammozoo.config.recipe import Recipe
from mammozoo.config.requirements import check_requirements
from mammozoo.data.loaded import By, Data, open_data
from mammozoo.data.preprocessing import Input
from mammozoo.data.splits import make as splits
from mammozoo.data.splits.files import read_splits
from mammozoo.data.splits.leakage import LeakageError, check_groups, seen_before
from mammozoo.data.splits.make import Split
from mammozoo.data.transforms import build as build_transform
from mammozoo.errors import UsageError
from mammozoo.models.backbone import Backbone, load_exactly
from mammozoo.models.config import LEAKY, SYNTHETIC, PastStage
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.factory import (
    Lineage,
    build_backbone,
    build_model,
    default_weights,
    load_starting_weights,
)
from mammozoo.models.model import Model
from mammozoo.models.strategy import Composite, strategy
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.training.stages import Start, check_handover, fits, shapes, stage_splits
from mammozoo.zoo.registry import find_model


@dataclass(frozen=True)
class PreparedRun:
    """A recipe with everything looked up and nothing trained: what `--dry-run` shows and `train` carries out.

    Attributes:
        stages: the plans of the earlier stages, first to last, each with one split for every split of this plan.
        past: the stages that the starting weights have been through.
    """

    recipe: Recipe
    engine: Engine
    input: Input
    data: Data
    splits: list[Split]
    stamps: tuple[str, ...]
    lineage: Lineage
    starting_state: dict[str, torch.Tensor]
    stages: tuple[PreparedRun, ...] = ()
    past: tuple[PastStage, ...] = ()

    def after(self, start: Start) -> PreparedRun:
        """The same plan from the weights of a stage."""
        return replace(self, starting_state=start.state, lineage=start.lineage, past=start.past)

    def build(self, recipe: Recipe | None = None) -> tuple[Model, Composite]:
        """A fresh model with the starting weights; its head is drawn from the seed. `recipe` is a point of the plan's own."""
        recipe = recipe or self.recipe
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            backbone = build_backbone(recipe.backbone)
            plain = fits(backbone, self.starting_state)
            if plain:
                load_exactly(backbone, self.starting_state)
            model, chosen = build_model(backbone, recipe.strategy, recipe.head, self.data.classes, self.input)
            if not plain:  # a stage's, whose strategy has changed the network as this one's does
                load_exactly(model.backbone, self.starting_state)
            return model, chosen

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

    def stage_counts(self) -> list[dict[str, Any]]:
        """For every earlier stage its data, and how many images are kept from it for the sake of each split."""
        return [
            {
                "name": stage.recipe.name,
                "dataset": stage.recipe.dataset,
                "classes": list(stage.data.merged or stage.data.classes),
                "strategy": stage.recipe.strategy,
                "head": stage.recipe.head,
                "epochs": sum(phase.epochs for phase in stage.recipe.all_phases()),
                "images": len(stage.data.samples),
                "left_out": {
                    own.name: len(stage.data.samples) - sum(len(split.part(part)) for part in splits.PARTS)
                    for own, split in zip(self.splits, stage.splits, strict=True)
                },
                "stamps": list(stage.stamps),
            }
            for stage in self.stages
        ]


def plan(recipe: Recipe, progress: Progress | None = None) -> PreparedRun:
    """Look everything up, read the data, cut the splits and load the starting weights; train nothing.

    Raises:
        LeakageError: a group on both sides of a split, or a test image that the starting weights have seen.
        MammozooError: whatever else the recipe asks for and cannot have.
    """
    progress = progress or Progress()
    check_requirements(recipe.requires, f"Recipe '{recipe.name}'")
    engine = choose_engine(recipe.device, recipe.precision)
    trained = [*(recipe.of_stage(number) for number in range(len(recipe.stages))), recipe]
    for number, one in enumerate(trained):
        _look_up(one)  # before the data are read, which may take minutes
        if one is not recipe:
            _check_root(one, number)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        backbone = build_backbone(recipe.backbone)
    insists = _insists(trained)
    weights = default_weights(recipe.backbone) if recipe.weights == "auto" else recipe.weights
    lineage = load_starting_weights(backbone, recipe.backbone, insists or weights, find_model)
    input = _input(recipe, backbone)
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
    final = PreparedRun(recipe, engine, input, data, made, tuple(stamps), lineage, backbone.state_dict())
    return _with_stages(final, trained[:-1], backbone, progress) if recipe.stages else final


def _with_stages(final: PreparedRun, recipes: list[Recipe], backbone: Backbone, progress: Progress) -> PreparedRun:
    """The plan with those of its earlier stages."""
    stages = []
    for said, recipe in zip(final.recipe.stages, recipes, strict=True):
        input = _input(recipe, backbone)
        data = open_data(recipe.dataset, recipe.root, recipe.classes, input, "group", progress)
        _check_monitor(recipe, data)
        made = stage_splits(said.name, data, final.data, final.splits, val=recipe.split.val, seed=recipe.split.seed)
        stamps = [SYNTHETIC] if data.dataset.info.synthetic or final.lineage.synthetic else []
        if said.substitute_for:
            stamps.append(f"stage {said.name}: {recipe.dataset} is a substitute for {said.substitute_for}")
        stages.append(replace(final, recipe=recipe, input=input, data=data, splits=made, stamps=tuple(stamps)))
    every = [*stages, final]
    check_handover(shapes(backbone), [(p.recipe.name, p.recipe.strategy, p.build()[0]) for p in every])
    # What a stage was trained on is said of everything that comes after it.
    told = [list(dict.fromkeys(stamp for p in every[: n + 1] for stamp in p.stamps)) for n in range(len(every))]
    every = [replace(p, stamps=tuple(stamps)) for p, stamps in zip(every, told, strict=True)]
    return replace(every[-1], stages=tuple(every[:-1]))


def _input(recipe: Recipe, backbone: Backbone) -> Input:
    changes: dict[str, Any] = {
        "color": recipe.color,
        "fit": recipe.fit,
        "preprocess": recipe.preprocess,
        "size": recipe.size or backbone.input.size,
    }
    return backbone.input.model_copy(update=changes)


def _insists(trained: list[Recipe]) -> str | None:
    """The starting weights that the first stage's strategy insists on; a later one must leave it the stage's before."""
    first, *later = (strategy(recipe.strategy).starting_weights for recipe in trained)
    for recipe, wanted in zip(trained[1:], later, strict=True):
        if wanted is not None:
            raise UsageError(
                f"Strategy '{recipe.strategy}' starts from {wanted} weights, so what the stages before '{recipe.name}' have "
                "learnt would be lost. Give it another strategy, or leave the stages out."
            )
    return first


def _check_root(recipe: Recipe, number: int) -> None:
    """Raise for a stage without the folder of its data, with the way to say it."""
    dataset = registry().get("datasets", parse(recipe.dataset).name)
    if dataset.needs_root and recipe.root is None:
        raise UsageError(
            f"Stage '{recipe.name}' needs the folder that holds its data set '{recipe.dataset}': --set stages.{number}.root=DIR."
        )


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
        check_groups(split, data.groups, data.names)
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
    registry().get("datasets", parse(recipe.dataset).name)
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
