"""The recipe: everything that determines a run, validated and saved with it.

Precedence: field default < recipe YAML < `--set a.b=c` < flag. A recipe names things from the registry and holds
no code. Unknown keys are errors with the nearest name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import Field

from mammozoo.config.names import Seed, named_folder
from mammozoo.config.requirements import checked
from mammozoo.config.sections import (
    Batch,
    Epochs,
    Methods,
    Optimizer,
    Phase,
    Root,
    Schedule,
    Section,
    SplitSettings,
    Stage,
    assign,
    listed,
    value_at,
)
from mammozoo.data.joined import names_of
from mammozoo.errors import UsageError, problems
from mammozoo.evaluation.thresholds import check_rule
from mammozoo.zoo.pins import Pin

#: What a grid may try, of the recipe or of a stage: nothing that changes the data or the split.
_TRIED = {
    "augment", "backbone", "batch", "batch_norm", "class_weights", "epochs", "head", "methods", "optimizer", "patience", "phases",
    "schedule", "size", "strategy", "weights",
}  # fmt: skip


MOST_FITS = 10_000  #: points of a grid × repeats
Side = Annotated[int, Field(ge=8, le=4096)]


class Recipe(Section):
    """Everything that determines a run. `name` and `summary` only describe it."""

    name: str = "custom"
    summary: str = ""
    paper: str | None = None
    """Key of the paper whose method this is."""
    why: dict[str, str] = Field(default_factory=dict)
    """Key → the reason for its value, which `train` shows; changes nothing."""
    requires: tuple[str, ...] = ()
    """Packages that provide what the recipe names, as pip takes them: `mammozoo-peft>=0.2`. A run records those it used."""

    dataset: str
    """Data set with options: `busi`, `phantom:n=800`; or several: `busi+bus-bra`, `here=folder+there=csv`."""
    root: Root | None = None
    """Folder or table of the data; of several data sets a mapping of their names to these, or a YAML file with one."""
    classes: tuple[str, ...] | None = None
    """Which classes, in output order; several labels as one are `lesion=benign|malignant`; None for all of the data set's."""
    exclude: Path | None = None
    """A list of images to leave out, a table with the column `image`, as `data check --write-exclusions` writes it."""
    split: SplitSettings = SplitSettings()
    allow_leakage: bool = False
    """Run with a leaky split; every output then carries a stamp (a warning label)."""

    stages: tuple[Stage, ...] = ()
    """Earlier trainings of the backbone, in order; this recipe itself is the last stage."""

    backbone: str
    weights: str = "auto"
    """`auto` (what the backbone recommends), `imagenet`, `random`, `file:PATH`, `zoo:NAME`, `hub:ORG/NAME@SHA[:FILE]`, `run:…`."""
    pinned: tuple[Pin, ...] = ()
    """The files of the Hub that these weights were, by commit and SHA-256; others are refused. A run records those it used."""
    strategy: str = "frozen"
    head: str = "gap"
    batch_norm: Literal["auto", "train", "frozen"] = "auto"
    """Statistics of batch norms whose weights train; `auto` freezes them where they were folded into the weights."""

    sync_batch_norm: bool = False
    """In several processes on GPUs: batch statistics over the whole batch, not over each process's share."""

    size: tuple[Side, Side] | None = None
    """(height, width); one number stands for both; None for the backbone's own."""
    color: Literal["grey", "rgb"] = "grey"
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    preprocess: tuple[str, ...] = ()
    augment: tuple[str, ...] = ()

    epochs: Epochs = 20
    batch: Batch = 16
    optimizer: Optimizer = Optimizer()
    phases: tuple[Phase, ...] = ()
    """Optimizers in turn; their epochs replace `epochs`, their settings `optimizer`."""
    schedule: Schedule = Schedule()
    methods: Methods = Methods()
    class_weights: Literal["balanced", "none"] = "balanced"
    """`balanced` weights the loss inversely to class frequency in the training part."""
    monitor: str = "loss"
    """Validation `loss` or a metric; the best epoch's weights are kept."""
    patience: Epochs | None = None
    """Stop after so many epochs without a better `monitor`; None trains to the end."""
    threshold: str = "closest-to-corner"
    """Rule that chooses the decision threshold on validation; `sensitivity:0.95` is one too."""
    calibration: Literal["temperature", "none"] = "temperature"
    """`temperature` divides the logits by one number, fitted on validation."""
    abstain: Annotated[float, Field(ge=0.001, le=0.999)] = 0.2
    """Share of the validation images on which `predict --abstain` abstains."""
    store: Literal["fp32", "fp16"] = "fp32"
    """Precision of the weights on disk (fp32 for a tensor beyond fp16's range); all scores are those of the stored weights."""

    grid: (
        dict[str, Annotated[list[Any], Field(min_length=1)]] | Annotated[list[dict[str, Any]], Field(min_length=1)]
    ) = Field(default_factory=dict)
    """Keys with the values to try, such as `optimizer.lr: [1e-3, 1e-2]`, in every combination; or a list of points, each with its
    settings. The point with the best mean validation value reports."""
    repeats: Annotated[int, Field(ge=1, le=MOST_FITS)] = 1
    """How often each point is trained, with the seeds seed, seed + 1 …; every repeat reports."""
    cache: bool = True
    """Compute the frozen part of a network once and cache its features; without augmentation nothing else changes."""
    cache_views: Annotated[int, Field(ge=0, le=1000)] = 0
    """With augmentation: the number of fixed variants of each image, which epochs use in turn; 0 draws anew each epoch."""
    seed: Seed = 0
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    compile: bool = False
    """Train through torch.compile; needs a C++ compiler (on a GPU Triton), and pays after minutes of training only."""
    keep_state: bool = False
    """Keep each fit's last state when it is complete, so that `train --extend` can go on from there."""

    @pydantic.field_validator("size", mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int | str) else value

    _lists = pydantic.field_validator("classes", "preprocess", "augment", mode="before")(listed)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _complete_stages(cls, fields: Any) -> Any:
        """Complete the optimizer and schedule of a stage, so that `recipe.yaml` holds all values."""
        if not isinstance(fields, dict) or not isinstance(fields.get("stages"), list | tuple):
            return fields
        own = {key: fields.get(key) for key in ("optimizer", "schedule")}
        stages = [
            stage | {k: v | stage[k] for k, v in own.items() if isinstance(v, dict) and isinstance(stage.get(k), dict)}
            if isinstance(stage, dict)
            else stage
            for stage in fields["stages"]
        ]
        return fields | {"stages": stages}

    @pydantic.field_validator("requires", mode="before")
    @classmethod
    def _as_pip_takes_them(cls, value: Any) -> Any:
        given = [value] if isinstance(value, str) else value
        return tuple(checked(str(text)) for text in given) if isinstance(given, list | tuple) else value

    @pydantic.field_validator("weights")
    @classmethod
    def _of_a_run(cls, value: str) -> str:
        folder = None if value.startswith(("run:", "zoo:")) else named_folder(value)
        return f"zoo:{value}" if folder is not None and (folder / "config.json").is_file() else value

    _known_rule = pydantic.field_validator("threshold")(check_rule)

    @pydantic.field_validator("grid")
    @classmethod
    def _within_a_run(cls, value: Any) -> Any:
        for key in value if isinstance(value, dict) else dict.fromkeys(key for point in value for key in point):
            tried = key.split(".")[2:] if key.startswith("stages.") else key.split(".")
            if not tried or tried[0] not in _TRIED:
                known = ", ".join(sorted(_TRIED))
                raise ValueError(f"'{key}' cannot differ within a run, only {known}; make several runs")
        return value

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.split.folds == 1 and self.split.test + self.split.val >= 1:
            raise ValueError("split.test and split.val leave no images for training")
        one = self.split
        if sum([one.file is not None, one.official, one.leave_out is not None, one.folds > 1]) > 1:
            raise ValueError(
                "split.file, split.official, split.leave_out and split.folds each make a split; choose one"
            )
        if self.split.inner > 1 and self.split.folds == 1:
            raise ValueError("split.inner nests folds in folds; set split.folds too")
        if self.split.by == "image" and not self.allow_leakage:
            raise ValueError("split.by: image leaks; set allow_leakage: true to run it anyway")
        if self.methods.sampling == "balanced" and self.class_weights == "balanced":
            raise ValueError("methods.sampling and class_weights are both balanced: that corrects twice; use one")
        if self.cache_views and (self.methods.mixup or self.methods.cutmix):
            raise ValueError("mixup and cutmix mix images, but cache_views keeps unmixed features; choose one")
        if self.seed + self.repeats > 2**32 or self.split.seed + max(self.split.folds, 2) >= 2**32:
            raise ValueError("seed and split.seed must leave room below 4294967296 for one more of each repeat or fold")
        points = math.prod(map(len, self.grid.values())) if isinstance(self.grid, dict) else len(self.grid)
        if points * self.repeats > MOST_FITS:
            raise ValueError(f"grid and repeats ask for more than {MOST_FITS:,} trainings of each split")
        if len({stage.name for stage in self.stages}) < len(self.stages):
            raise ValueError("two stages have one name")
        return self

    @property
    def data_name(self) -> str:
        """What the data are called: the name of the data set, or of one's own folder or table."""
        names = names_of(self.dataset)
        if isinstance(self.root, Path) and {*names.values()} <= {"folder", "csv"}:
            return self.root.resolve().stem
        return "-".join(names)

    def of_stage(self, number: int) -> Recipe:
        """The recipe of an earlier stage: its own settings, and for the rest those of this recipe."""
        stage = self.stages[number]
        shared = Stage.model_fields.keys() & Recipe.model_fields.keys()
        said = {key: value for key in shared if (value := getattr(stage, key)) is not None}
        split = SplitSettings(val=stage.val or min(self.split.val, 0.49), seed=self.split.seed)
        changes: dict[str, Any] = {"split": split}
        if stage.dataset is not None and names_of(stage.dataset) != names_of(self.dataset):
            changes |= {"root": None, "classes": None, "exclude": None}
        if stage.epochs is not None or stage.optimizer is not None:
            changes["phases"] = ()
        # Weights that go to the next stage are not rounded.
        changes |= {"stages": (), "grid": {}, "repeats": 1, "store": "fp32", "keep_state": False}
        return self.model_copy(update=changes | said)

    def points(self) -> list[tuple[dict[str, Any], Recipe]]:
        """(grid values, recipe) of every point of the grid and every repeat; a plain recipe has one point.

        Raises:
            UsageError: a key may not differ within a run, or a value does not suit it.
        """
        if not self.grid and self.repeats == 1:
            return [({}, self)]
        grid = self.grid
        if isinstance(grid, dict):
            grid = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        keys = list(dict.fromkeys(key for point in grid for key in point))
        found = []
        for point in grid:
            for repeat in range(self.repeats):
                fields = self.model_dump(mode="json") | {"grid": {}, "repeats": 1, "seed": self.seed + repeat}
                for key, value in point.items():
                    assign(fields, key, value)
                recipe = validated(fields, "grid")
                every = recipe.model_dump(mode="json")
                tried = {key: value_at(every, key) for key in keys}
                found.append((tried | ({"repeat": repeat} if self.repeats > 1 else {}), recipe))
        if isinstance(self.grid, list) and len({repr(tried) for tried, _ in found}) < len(found):
            raise UsageError("The grid has the same point twice: settings that are left out are those of the recipe.")
        return found

    def of_fit(self, name: str) -> Recipe:
        """The point of the grid that a fit of the run was trained by, by the number at the end of its name."""
        points, number = self.points(), name.rpartition("/")[2]
        numbered = number.isdecimal() and (len(points) > 1 or isinstance(self.grid, list))
        return points[int(number) if numbered else 0][1]

    def all_phases(self) -> tuple[Phase, ...]:
        """The phases in order; a recipe without phases is one phase."""
        return self.phases or (Phase(**self.optimizer.model_dump(), epochs=self.epochs),)

    def to_yaml(self) -> str:
        """The text of a recipe file with every key, so that later changes of defaults do not change an old run."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


_SECTIONS: dict[str, type[Section]] = {
    "optimizer": Optimizer,
    "split": SplitSettings,
    "schedule": Schedule,
    "methods": Methods,
}
#: A key that stands in a section → how it is written.
_DOTTED = {key: f"{name}.{key}" for name, section in _SECTIONS.items() for key in section.model_fields}
_DOTTED |= {"learning_rate": "optimizer.lr", "weight-decay": "optimizer.weight_decay"}


def validated(fields: Mapping[str, Any], name: str) -> Recipe:
    """A recipe of these fields; UsageError if a value is of the wrong type, or does not go with another."""
    try:
        return Recipe.model_validate(fields)
    except pydantic.ValidationError as error:
        for e in error.errors():
            if e["type"] == "unknown_key":
                key = ".".join([*(part for part in e["loc"] if isinstance(part, str)), e["ctx"]["key"]])
                hint = e["ctx"]["nearest"] or " All keys: mammozoo show default"
                hint = f" Did you mean '{_DOTTED[key]}'?" if key in _DOTTED else hint
                raise UsageError(f"Recipe '{name}' has an unknown key '{key}'.{hint}") from None
        raise UsageError(f"Recipe '{name}': {problems(error, 'recipe')}.") from None
