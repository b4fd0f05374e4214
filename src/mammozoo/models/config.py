"""`config.json`: all that is needed to rebuild a model and to judge it. Data only; names are looked up in the registry."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from mammozoo.data.ood import Profile
from mammozoo.data.preprocessing import Input
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError, nearest

#: Bytes of a `config.json` that are read; the hashes of a million images would fit.
MAX_CONFIG = 32 * 2**20
#: Stamps: warning labels that every output of such a run or model carries.
LEAKY = "leaky split: not comparable"
SYNTHETIC = "synthetic data: says nothing about patients"
INTENDED_USE = "Research only. Not a medical device; not for diagnosis, screening or treatment decisions."


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Threshold(_Part):
    """A cut of the positive class's probability, and the data on which it was chosen."""

    value: Annotated[float, Field(ge=0, le=1)]
    chosen_on: str


class Calibration(_Part):
    """A temperature by which logits are divided before they become probabilities, and the data on which it was fitted."""

    temperature: Annotated[float, Field(gt=0)]
    chosen_on: str


class Abstention(_Part):
    """Where `predict --abstain` says nothing: the decision margin below which a share of the validation images lies.

    The margin is |logit p − logit threshold| for two classes, the lead of the first class over the second for more.
    """

    margin: Annotated[float, Field(ge=0)]
    share: Annotated[float, Field(gt=0, lt=1)]
    chosen_on: str


class PastStage(_Part):
    """A training that the weights went through before the one that made the model.

    Attributes:
        classes: as the recipe wrote them, merged ones with their parts.
        images: images of each part.
        left_out: images of the data set that were left out, because a later stage chooses or tests on them or their like.
        epochs: that were trained; the best one's weights went on.
        weights: what it started from.
        sha256: of the file of weights that it ended with, head included.
        stamps: what its outputs are not to be taken for.
    """

    name: str
    dataset: str
    classes: tuple[str, ...]
    images: dict[str, int]
    left_out: int = 0
    strategy: str
    head: str
    epochs: int
    weights: str
    sha256: str
    stamps: tuple[str, ...] = ()


class Training(_Part):
    """What the weights were made from.

    `classes` are the model's as the recipe wrote them, where one is several labels of the data set in one; else empty.
    `left_out` counts images of the data set in no part. `stages` are the earlier ones, first to last.
    `seen` holds the perceptual hashes (16 hexadecimal digits) of every image that training or model selection
    looked at, here and in the models that it started from: so that a later test set can be checked against them.
    """

    dataset: str
    classes: tuple[str, ...] = ()
    modality: str = "any"
    synthetic: bool = False
    images: dict[str, int] = {}
    left_out: int = 0
    split_sha256: str = ""
    weights: str = ""
    stages: tuple[PastStage, ...] = ()
    seed: int = 0
    seen: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")], ...] = ()


class ModelConfig(_Part):
    """A model on disk, without its weights."""

    schema_version: Literal[1] = 1
    name: str
    backbone: str
    strategy: str
    head: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    input: Input
    thresholds: dict[str, Threshold] = {}
    threshold: str = ""
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    guard: Profile | None = None
    training: Training
    stamps: tuple[str, ...] = ()
    scores: dict[str, dict[str, float | int | None]] = {}
    plugins: dict[str, str] = {}
    intended_use: str = INTENDED_USE

    @property
    def asked(self) -> tuple[str, ...]:
        """The classes as a data set is asked for them: merged ones with their parts, `lesion=benign|malignant`."""
        return self.training.classes or self.classes

    def cut(self, name: str | None = None) -> float:
        """The threshold in force, or the one of that name; 0.5 where none was chosen.

        Raises:
            UsageError: the model has none of that name.
        """
        if name is None:
            return self.thresholds[self.threshold].value if self.threshold in self.thresholds else 0.5
        if name not in self.thresholds:
            known = ", ".join(self.thresholds) or "none: with more than two classes the most probable one is taken"
            raise UsageError(f"The model has no threshold '{name}'.{nearest(name, self.thresholds)} It has {known}.")
        return self.thresholds[name].value

    @property
    def temperature(self) -> float:
        """By what logits are divided; 1 where nothing was fitted."""
        return self.calibration.temperature if self.calibration else 1.0

    def to_json(self) -> dict[str, Any]:
        """As `config.json` holds it: under one key, so that other tools' keys can stand beside it."""
        return {"mammozoo": self.model_dump(mode="json")}


def read_config(folder: Path) -> ModelConfig:
    """The config of the model in `folder`.

    Raises:
        NotFoundError: there is no model.
        IncompatibleError: it was written by another version, or is damaged.
    """
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise IncompatibleError(f"'{path}' is longer than {MAX_CONFIG // 2**20} MiB; no config of a model is.")
        content = json.loads(path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
        return ModelConfig.model_validate(content["mammozoo"])
    except FileNotFoundError:
        raise NotFoundError(f"There is no model in '{folder}': it has no config.json.") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise IncompatibleError(f"'{path}' is not a config of this mammozoo: {where}: {first['msg']}.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IncompatibleError(f"'{path}' is not a mammozoo config: {error}.") from None


def _finite(text: str) -> float:
    """A number of the file; JSON's readers take NaN and 1e999 as well, and no threshold or size is one."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value
