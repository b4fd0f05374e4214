"""`config.json`: all that is needed to rebuild a model and to judge it. Data only; names are looked up in the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from mammozoo.data.input import Input
from mammozoo.data.profile import Profile
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError, nearest

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


class Training(_Part):
    """What the weights were made from.

    `seen` holds the perceptual hashes (16 hexadecimal digits) of every image that training or model selection
    looked at, here and in the models that it started from: so that a later test set can be checked against them.
    """

    dataset: str
    modality: str = "any"
    synthetic: bool = False
    images: dict[str, int] = {}
    split_sha256: str = ""
    weights: str = ""
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
        content = json.loads(path.read_text(encoding="utf-8"))
        return ModelConfig.model_validate(content["mammozoo"])
    except FileNotFoundError:
        raise NotFoundError(f"There is no model in '{folder}': it has no config.json.") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise IncompatibleError(f"'{path}' is not a config of this mammozoo: {where}: {first['msg']}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IncompatibleError(f"'{path}' is not a mammozoo config: {error}.") from None
