"""The sections of a recipe: split, optimizer, phases, schedule, earlier stages; and fields by dotted key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

from mammozoo.config.names import Seed
from mammozoo.errors import UsageError, nearest

Epochs = Annotated[int, Field(ge=1, le=1_000_000)]
Batch = Annotated[int, Field(ge=2, le=65_536)]
#: Where data lie: a folder or table, or one for each of several data sets, by its name.
Root = Path | dict[str, Path]
Rate = Annotated[float, Field(ge=1e-30, le=1e30)]


class Section(pydantic.BaseModel):
    """Base of all sections: unknown keys are errors, and a section is immutable."""

    model_config = pydantic.ConfigDict(defer_build=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _known_keys(cls, fields: Any) -> Any:
        """Refuse the first unknown key with the nearest known one, which pydantic alone would not offer."""
        for key in fields if isinstance(fields, dict) else ():
            if key not in cls.model_fields:
                facts = {"key": str(key), "nearest": nearest(str(key), cls.model_fields)}
                raise PydanticCustomError("unknown_key", "unknown key '{key}'.{nearest}", facts)
        return fields


class SplitSettings(Section):
    """How samples are divided: always by group (patient or near-duplicate), classes in equal shares."""

    file: Path | None = None
    """An existing split: our `splits.json`, nnU-Net's `splits_final.json` or a table; other keys make the parts that it lacks."""
    official: bool = False
    """The data set's own division into parts or folds."""
    leave_out: Annotated[str, Field(min_length=1)] | None = None
    """`device=GE` tests on the images with that value of a column and trains on the rest, `device=*` on each value in turn; a name
    alone is a data set of several, as `dataset=NAME`."""
    folds: Annotated[int, Field(ge=1, le=1000)] = 1
    """1 for one holdout split; k ≥ 2 for k-fold cross-validation, where every sample is tested once."""
    inner: Annotated[int, Field(ge=1, le=1000)] = 1
    """k ≥ 2 nests k inner folds in every outer one: they choose the point, and their models predict the test part together."""
    test: Annotated[float, Field(ge=0.001, le=0.999)] = 0.2
    """Share of the test part; k-fold ignores it."""
    val: Annotated[float, Field(ge=0.001, le=0.999)] = 0.15
    """Share of the validation part, on which every choice is made; with `leave_out` of the images that are not left out."""
    seed: Seed = 0
    by: Literal["group", "patient", "image"] = "group"
    """`image` ignores patients and near-duplicates; it is leaky, and needs `allow_leakage`."""


class Optimizer(Section):
    """An optimizer and its settings."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    lr: Rate = 1e-3
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD and RMSProp."""
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 0.0


class Phase(Optimizer):
    """Some epochs with their own optimizer."""

    epochs: Epochs


class Schedule(Section):
    """How the learning rate changes within a phase."""

    kind: Literal["constant", "plateau", "cosine", "exponential"] = "constant"
    factor: Annotated[float, Field(ge=1e-6, le=1)] = 0.9
    """Multiplies the rate: at each plateau, or after each epoch (`exponential`)."""
    patience: Annotated[int, Field(ge=0, le=1_000_000)] = 4
    """Epochs without a better `monitor` that make a plateau."""
    warmup: Annotated[int, Field(ge=0, le=1000)] = 0
    """First epochs of a phase, in which the rate rises in equal steps to that of the optimizer; the schedule follows."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Schedule:
        if self.warmup and self.kind == "plateau":
            raise ValueError("warmup goes with constant, cosine and exponential, not with plateau")
        return self


class Methods(Section):
    """Ways of training beside the papers'; each is off unless it is asked for."""

    loss: str = "cross-entropy"
    """A loss with options, such as `focal:gamma=2`. Validation losses are of cross-entropy all the same."""
    label_smoothing: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of each label that is divided among all classes."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Alpha of mixup; with `cutmix` each batch has one of both."""
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Alpha of cutmix."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a moving average of the weights, such as 0.99, which is validated and kept instead of those of the last step."""
    clip: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Largest norm of the gradient of a step."""
    accumulate: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Batches whose mean gradient makes one step."""
    sampling: Literal["plain", "balanced"] = "plain"
    """`balanced` draws an epoch's images with replacement, of each class equally many on average."""


def listed(value: Any) -> Any:
    """A list of texts from `a+b`, the spelling of the command line, or from a list in which YAML has read numbers.

    Raises:
        ValueError: YAML has read a word as true or false.
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split("+") if part.strip()]
    if not isinstance(value, list | tuple):
        return value
    if any(isinstance(part, bool) for part in value):
        raise ValueError("YAML reads yes, no, on and off as true and false; write such names in quotes")
    return [str(part) if isinstance(part, int) else part for part in value]


class Stage(Section):
    """An earlier training of the recipe's backbone, whose weights the next one starts from.

    A missing value is that of the recipe; `root`, `classes` and `exclude` only if the data set is the same.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    substitute_for: str = ""
    """The data that a paper used here, and that this data set replaces; every output then carries a stamp that says so."""

    dataset: str | None = None
    root: Root | None = None
    classes: tuple[str, ...] | None = None
    exclude: Path | None = None
    val: Annotated[float, Field(ge=0.001, lt=0.5)] | None = None
    """Share of its validation part; a stage has no test part."""
    color: Literal["grey", "rgb"] | None = None
    fit: Literal["stretch", "pad", "crop"] | None = None
    preprocess: tuple[str, ...] | None = None
    augment: tuple[str, ...] | None = None

    strategy: str | None = None
    head: str | None = None
    batch_norm: Literal["auto", "train", "frozen"] | None = None
    epochs: Epochs | None = None
    batch: Batch | None = None
    optimizer: Optimizer | None = None
    """Missing settings are those of the recipe."""
    phases: tuple[Phase, ...] | None = None
    """A stage with its own `epochs` or `optimizer` does not use the recipe's phases."""
    schedule: Schedule | None = None
    class_weights: Literal["balanced", "none"] | None = None
    monitor: str | None = None
    patience: Epochs | None = None

    _lists = pydantic.field_validator("classes", "preprocess", "augment", mode="before")(listed)


def assign(fields: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key; missing mappings on the way are created. A number indexes a list: `stages.0.root`.

    The keys of a grid are dotted themselves: `grid.optimizer.lr` is its entry `optimizer.lr`.

    Raises:
        UsageError: a part is not an entry of a list, or holds a value and not further keys.
    """
    here: Any = fields
    *parents, last = _parts(key)
    for parent in parents:
        place = _place(here, parent, key)
        if isinstance(here, dict) and here.get(place) is None:
            here[place] = {}
        here = here[place]
        if not isinstance(here, dict | list):
            raise UsageError(f"--set {key}: '{parent}' holds a value, not further keys.")
    here[_place(here, last, key)] = value


def _parts(key: str) -> list[str]:
    """The parts of a dotted key; what follows `grid` is one."""
    before, grid, behind = key.partition("grid.")
    if grid and (not before or before.endswith(".")):
        return [*before.split(".")[:-1], "grid", behind]
    return key.split(".")


def _place(fields: dict[str, Any] | list[Any], part: str, key: str) -> Any:
    """A part of a dotted key as an index."""
    if isinstance(fields, dict):
        return part
    if not part.isdecimal() or int(part) >= len(fields):
        raise UsageError(f"--set {key}: '{part}' is not an entry of a list of {len(fields)}; they count from 0.")
    return int(part)


def value_at(fields: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; raises as `assign`."""
    here: Any = fields
    for part in _parts(key):
        here = here[_place(here, part, key)]
    return here
