"""From a recipe to a prepared run: everything looked up, read, split and checked, the network built; nothing trained."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from mammozoo.config.names import call, options, parse
from mammozoo.config.recipe import Recipe
from mammozoo.config.requirements import check_requirements
from mammozoo.data.decoding import decode_cached
from mammozoo.data.joined import kinds_of, open_dataset, parse_datasets, without_paths
from mammozoo.data.loaded import By, Data, open_data
from mammozoo.data.preprocessing import Input
from mammozoo.data.splits.exclusions import read_list, reasons
from mammozoo.data.splits.leakage import LeakageError
from mammozoo.data.splits.left_out import shared_classes
from mammozoo.data.splits.make import PARTS, Split
from mammozoo.data.transforms import build as build_transform
from mammozoo.errors import UsageError
from mammozoo.models.backbone import Backbone, load_exactly
from mammozoo.models.config import LEAKY, SYNTHETIC, PastStage
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.factory import Lineage, build_model, load_starting_weights
from mammozoo.models.model import Model
from mammozoo.models.randomness import kept_generators
from mammozoo.models.strategy import Composite
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.training.splitting import check_leakage, make_splits
from mammozoo.training.stages import StageResult, check_handover, fits, shapes, stage_splits
from mammozoo.training.starts import Start, all_starts, draw_backbone, start_of
from mammozoo.training.validation import Monitor
from mammozoo.zoo.pins import Pin, pinned
from mammozoo.zoo.theirs import described, find_weights, is_file


@dataclass(frozen=True)
class PreparedRun:
    """A recipe with everything looked up and nothing trained: what `--dry-run` shows and `train` carries out.

    Attributes:
        start: names and size of backbone, weights and `input`; of a grid that varies them those of its first point.
        backbone: the network with its starting weights. It stays as it is; each fit trains a copy.
        head_rng: seed → state of torch's generator in which a head is drawn (the one that drawing the backbone leaves).
        stages: the earlier stages, first to last, each with one split for every split of this run.
        past: the stages that the starting weights come from.
        stage_state: backbone weights of the stage before, which replace those of `backbone`; None in the first stage.
        others: the same run for each further start of the grid.
    """

    recipe: Recipe
    engine: Engine
    input: Input
    data: Data
    splits: list[Split]
    stamps: tuple[str, ...]
    start: Start
    lineage: Lineage
    backbone: Backbone
    head_rng: dict[int, torch.Tensor]
    stages: tuple[PreparedRun, ...] = ()
    past: tuple[PastStage, ...] = ()
    stage_state: dict[str, torch.Tensor] | None = None
    others: tuple[PreparedRun, ...] = ()

    def of(self, recipe: Recipe) -> PreparedRun:
        """The same run with the network, weights and images of a point of its grid."""
        if not self.others:
            return self
        start = start_of(recipe)
        return replace(next(one for one in (self, *self.others) if one.start == start), others=())

    def with_start(self, start: Start, progress: Progress, pins: Iterable[Pin] = ()) -> PreparedRun:
        """The same run with a further start, whose images are read; the run itself if it has it already. Raises as `prepare`."""
        known = (self, *self.others)
        if start in {one.start for one in known}:
            return self
        twin = next((one for one in known if one.start[:2] == start[:2]), None)
        recipe = self.recipe
        if twin is None:
            backbone, head_rng = draw_backbone(start, recipe)
            lineage, used = _load_weights(backbone, start, (*recipe.pinned, *pins))
            recipe = recipe.model_copy(update={"pinned": tuple(dict.fromkeys([*recipe.pinned, *used]))})
        else:
            backbone, head_rng, lineage = twin.backbone, twin.head_rng, twin.lineage
        input, data = _input(recipe, start, backbone), self.data
        if input.size != self.input.size:
            progress.start(f"reading images for {start.backbone}", len(data.samples))
            data = replace(data, images=decode_cached(data.dataset, data.samples, input, progress.advance))
            progress.clock.lap("read")
        stamps = _stamps(recipe, data, self.splits, lineage)
        one = replace(
            self, input=input, data=data, stamps=stamps, start=start, lineage=lineage, backbone=backbone, head_rng=head_rng,
            others=(),
        )  # fmt: skip
        return replace(self, recipe=recipe, others=(*self.others, one))

    def after(self, stage: StageResult) -> PreparedRun:
        """The same run from the weights of a stage."""
        return replace(self, stage_state=stage.state, lineage=stage.lineage, past=stage.past)

    def distinct(self) -> list[Recipe]:
        """Points of the grid, one for each different network: another start, strategy or head."""
        points = [recipe for _, recipe in self.recipe.points()]
        return list({(start_of(one), one.strategy, one.head): one for one in reversed(points)}.values())[::-1]

    def build(self, recipe: Recipe | None = None) -> tuple[Model, Composite]:
        """A fresh model with the starting weights. `recipe` is a point of the run's grid; its seed draws the head."""
        recipe = recipe or self.recipe
        backbone, state = copy.deepcopy(self.backbone), self.stage_state
        adapted = state is not None and not fits(backbone, state)  # by an earlier stage with the same strategy
        if state is not None and not adapted:
            load_exactly(backbone, state)
        with kept_generators():
            torch.set_rng_state(self.head_rng[recipe.seed])
            model, chosen = build_model(backbone, recipe.strategy, recipe.head, self.data.classes, self.input)
        if state is not None and adapted:
            load_exactly(model.backbone, state)
        return model, chosen

    def split_counts(self) -> list[dict[str, Any]]:
        """For every split the number of samples of each class in each part."""
        labels, classes = self.data.labels, self.data.classes
        return [
            {
                "name": split.name,
                **{
                    part: {name: int((labels[split.part(part)] == k).sum()) for k, name in enumerate(classes)}
                    for part in PARTS
                },
            }
            for split in self.splits
        ]

    def stage_counts(self) -> list[dict[str, Any]]:
        """For every earlier stage its data, and how many of its images are left out for each split."""
        return [
            {
                "name": stage.recipe.name,
                "dataset": without_paths(stage.recipe.dataset),
                "classes": list(stage.data.merged or stage.data.classes),
                "strategy": stage.recipe.strategy,
                "head": stage.recipe.head,
                "epochs": sum(phase.epochs for phase in stage.recipe.all_phases()),
                "images": len(stage.data.samples),
                **({"excluded": reasons(stage.data.excluded)} if stage.data.excluded else {}),
                "left_out": {
                    own.name: len(stage.data.samples) - sum(len(split.part(part)) for part in PARTS)
                    for own, split in zip(self.splits, stage.splits, strict=True)
                },
                "stamps": list(stage.stamps),
            }
            for stage in self.stages
        ]


def prepare(recipe: Recipe, progress: Progress | None = None) -> PreparedRun:
    """Look everything up, build the network with its starting weights, read the data and make the splits; train nothing.

    Raises:
        LeakageError: a group on both sides of a split, or a test image that was used for the starting weights.
        MammozooError: anything else that the recipe asks for and cannot have.
    """
    progress = progress or Progress()
    check_requirements(recipe.requires, f"Recipe '{recipe.name}'")
    engine = choose_engine(recipe.device, recipe.precision)
    earlier = [recipe.of_stage(number) for number in range(len(recipe.stages))]
    monitor = _look_up(recipe)  # before the data are read, which may take minutes
    monitors = [_look_up(stage) for stage in earlier]
    check_data(recipe)  # a wrong --root is said before weights are asked for
    first, *others = all_starts(recipe)
    backbone, head_rng = draw_backbone(first, recipe)
    lineage, used = _load_weights(backbone, first, pins := recipe.pinned)
    recipe = recipe.model_copy(update={"pinned": used})
    input = _input(recipe, first, backbone)
    by: By = "patient" if recipe.split.by == "patient" else "group"
    classes = recipe.classes
    if classes is None and recipe.split.leave_out is not None:
        classes = shared_classes(open_dataset(recipe.dataset, recipe.root), recipe.split.leave_out)
    data = open_data(recipe.dataset, recipe.root, classes, input, by, progress, exclude=recipe.exclude)
    monitor.check(data)
    splits = make_splits(recipe, data)
    stamps = _stamps(recipe, data, splits, lineage)
    progress.clock.lap("split")
    prepared = PreparedRun(recipe, engine, input, data, splits, stamps, first, lineage, backbone, head_rng)
    for start in others:
        prepared = prepared.with_start(start, progress, pins)
    return _with_stages(prepared, earlier, monitors, progress) if earlier else prepared


def _load_weights(backbone: Backbone, start: Start, pins: Iterable[Pin]) -> tuple[Lineage, tuple[Pin, ...]]:
    """Load the weights of a start; (their origin, the pins of the files of the Hub that it took)."""
    with pinned(pins) as used:
        lineage = load_starting_weights(backbone, start.backbone, start.weights, find_weights)
        if is_file(lineage.weights):
            lineage = replace(lineage, weights=described(lineage.weights))
    return lineage, tuple(used)


def _stamps(recipe: Recipe, data: Data, splits: list[Split], lineage: Lineage) -> tuple[str, ...]:
    """The stamps of fits from these weights; LeakageError if test images leak and the recipe does not allow it."""
    stamps = [SYNTHETIC] if data.dataset.info.synthetic or lineage.synthetic else []
    try:
        check_leakage(splits, data, lineage.seen)
    except LeakageError:
        if not recipe.allow_leakage:
            raise
        stamps.append(LEAKY)
    return tuple(stamps)


def _with_stages(final: PreparedRun, recipes: list[Recipe], monitors: list[Monitor], progress: Progress) -> PreparedRun:
    """The prepared run with its earlier stages."""
    stages: list[PreparedRun] = []
    for settings, recipe, monitor in zip(final.recipe.stages, recipes, monitors, strict=True):
        input = _input(recipe, final.start, final.backbone)
        data = open_data(recipe.dataset, recipe.root, recipe.classes, input, "group", progress, exclude=recipe.exclude)
        monitor.check(data)
        splits = stage_splits(
            settings.name, data, final.data, final.splits, val=recipe.split.val, seed=recipe.split.seed
        )
        stamps = [SYNTHETIC] if data.dataset.info.synthetic or final.lineage.synthetic else []
        if settings.substitute_for:
            stamps.append(f"stage {settings.name}: {recipe.dataset} is a substitute for {settings.substitute_for}")
        # The stamps of a stage hold for everything that comes after it.
        stamps = list(dict.fromkeys([*(stages[-1].stamps if stages else ()), *stamps]))
        stages.append(replace(final, recipe=recipe, input=input, data=data, splits=splits, stamps=tuple(stamps)))
    built = [(p.recipe.name, p.recipe.strategy, p.build()[0]) for p in (*stages, final)]
    check_handover(shapes(final.backbone), built)
    stamps = list(dict.fromkeys([*stages[-1].stamps, *final.stamps]))
    return replace(final, stages=tuple(stages), stamps=tuple(stamps))


def _input(recipe: Recipe, start: Start, backbone: Backbone) -> Input:
    changes: dict[str, Any] = {
        "color": recipe.color,
        "fit": recipe.fit,
        "preprocess": recipe.preprocess,
        "size": start.size or backbone.input.size,
    }
    return backbone.input.model_copy(update=changes)


def _look_up(recipe: Recipe) -> Monitor:
    """Raise for the names in a recipe that nothing else looks up before the data are read; the monitor."""
    head, datasets = parse(recipe.head), parse_datasets(recipe.dataset)
    options(registry().get("heads", head.name).build, head, given=4)
    for own, kind in kinds_of(recipe.dataset).items():
        options(kind, datasets[own], given=1)
    for transform in recipe.augment:
        build_transform(transform)
    methods = recipe.methods
    loss = registry().get("losses", (named := parse(methods.loss)).name)
    call(loss.build, named)
    if not loss.soft and (methods.label_smoothing or methods.mixup or methods.cutmix):
        raise UsageError(
            f"The loss '{methods.loss}' takes whole labels, which label_smoothing, mixup and cutmix divide. Leave one out."
        )
    return Monitor(recipe.monitor)


def check_data(recipe: Recipe) -> None:
    """Raise NotFoundError or UsageError for data or lists that are not there, of the recipe and of its stages; reads no image."""
    stages = [recipe.of_stage(number) for number in range(len(recipe.stages))]
    for number, stage in enumerate(stages):
        _check_root(stage, number)
    for one in (*stages, recipe):
        open_dataset(one.dataset, one.root)
        if one.exclude is not None:
            read_list(one.exclude)


def _check_root(recipe: Recipe, number: int) -> None:
    """Raise for a stage without the folder of its data, with the way to give it."""
    if recipe.root is None and any(kind.needs_root for kind in kinds_of(recipe.dataset).values()):
        raise UsageError(
            f"Stage '{recipe.name}' needs the folder that holds its data set '{recipe.dataset}': --set stages.{number}.root=DIR."
        )
