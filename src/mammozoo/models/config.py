"""`config.json`: everything needed to rebuild a model and to judge it. Data only; names are looked up in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from mammozoo.data.ood import Profile
from mammozoo.data.preprocessing import Input
from mammozoo.documents import parse_json
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError, nearest, problems
from mammozoo.files import absent, read_promised

CONFIG = "config.json"
#: Longest `config.json` that is read, in bytes; the hashes of 200,000 images fit.
MAX_CONFIG = 32 * 2**20
#: Most models of an ensemble.
MOST_MEMBERS = 20
#: Stamps: warning labels that every output of such a run or model carries.
LEAKY = "leaky split: not comparable"
SYNTHETIC = "synthetic data: says nothing about patients"
INTENDED_USE = "Research only. Not a medical device; not for diagnosis, screening or treatment decisions."


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Threshold(_Part):
    """A threshold of the positive class's probability, and the data on which it was chosen."""

    value: Annotated[float, Field(ge=0, le=1)]
    chosen_on: str


class Calibration(_Part):
    """A temperature by which logits are divided before they become probabilities, and the data on which it was fitted."""

    temperature: Annotated[float, Field(ge=0.01, le=100)]
    chosen_on: str


class Abstention(_Part):
    """The decision margin below which `predict --abstain` gives no label; a share of the validation images lies below it.

    The margin is |logit p − logit threshold| for two classes, the lead of the first class over the second for more.
    """

    margin: Annotated[float, Field(ge=0)]
    share: Annotated[float, Field(gt=0, lt=1)]
    chosen_on: str


class Member(_Part):
    """One of the models of an ensemble: the name of its fit, what its recipe point chose, and its own temperature."""

    name: str
    strategy: str
    head: str
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0


class PastStage(_Part):
    """An earlier training stage that the weights went through.

    Attributes:
        classes: as the recipe wrote them, merged ones with their parts.
        images: images of each part.
        left_out: number of images left out because a later stage selects or tests on them, or on images of their groups.
        epochs: number of epochs trained; the weights of the best one went on.
        weights: the starting weights.
        sha256: SHA-256 of the final weights file, head included.
        stamps: the stage's warning labels.
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
    """What the weights were trained from.

    Attributes:
        classes: the classes as the recipe wrote them if one merges several labels of the data set; else empty.
        left_out: number of images of the data set that are in no part.
        stages: the earlier stages, first to last.
        augment: the recipe's augmentation, such as `hflip`; models of before 0.2 do not say.
        seen: hashes (`Fingerprints.written`) of the images used in training or model selection, here and in the models that
            training started from. A later test set can be checked against them. Models of before keypoints have 16 digits each.
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
    augment: tuple[str, ...] = ()
    seen: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{16}([0-9a-f]{112})?$")], ...] = ()


class ModelConfig(_Part):
    """A model without its weights: the content of `config.json`."""

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
    scores_of: str = ""
    """What the scores are of, if not of this model alone."""
    members: Annotated[tuple[Member, ...], Field(max_length=MOST_MEMBERS)] = ()
    """Of an ensemble its models, in the order of the weights; `strategy` and `head` are then those of the first."""
    plugins: dict[str, str] = {}
    intended_use: str = INTENDED_USE
    licence: str = ""
    """Of another program's model; ours have theirs in the card."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The classes to request from a data set: merged ones with their parts, `lesion=benign|malignant`."""
        return self.training.classes or self.classes

    def cut(self, name: str | None = None) -> float:
        """The value of the threshold in force, or of the named one; 0.5 if none was chosen.

        Raises:
            UsageError: the model has no threshold of that name.
        """
        if name is None:
            return self.thresholds[self.threshold].value if self.threshold in self.thresholds else 0.5
        if name not in self.thresholds:
            known = ", ".join(self.thresholds) or "none: with more than two classes the most probable one is taken"
            raise UsageError(f"The model has no threshold '{name}'.{nearest(name, self.thresholds)} It has {known}.")
        return self.thresholds[name].value

    @property
    def temperature(self) -> float:
        """The number by which logits are divided; 1 if none was fitted."""
        return self.calibration.temperature if self.calibration else 1.0

    def to_json(self) -> dict[str, Any]:
        """The content of `config.json`: under one key, so that other tools' keys can stand beside it."""
        absent = {name for name in ("scores_of", "members", "licence") if not getattr(self, name)}
        return {"mammozoo": self.model_dump(mode="json", exclude=absent)}


def read_config(folder: Path) -> ModelConfig:
    """The config of the model in `folder`.

    Raises:
        NotFoundError: there is no model.
        IncompatibleError: it was written by another version, or is damaged.
    """
    try:
        return ModelConfig.model_validate(read_content(folder)["mammozoo"])
    except pydantic.ValidationError as error:
        what = f"'{folder / CONFIG}' is not a config of this mammozoo: {problems(error, most=1)}."
        raise IncompatibleError(what) from None


def read_content(folder: Path) -> dict[str, Any]:
    """The content of the `config.json` in `folder`, other tools' keys included; the section `mammozoo` is not validated.

    Raises:
        NotFoundError, IncompatibleError: as `read_config`.
    """
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise ValueError(f"it is longer than {MAX_CONFIG // 2**20} MiB")
        content = parse_json((read_promised(path) or path.read_bytes()).decode())
        if not isinstance(content, dict) or not isinstance(content.get("mammozoo"), dict):
            raise ValueError("it has no section 'mammozoo'")
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no model in '{folder}': it has no config.json.{'' if folder.exists() else absent(folder)}"
        ) from None
    except (OSError, ValueError) as error:
        raise IncompatibleError(f"'{path}' is not a mammozoo config: {error}.") from None
    return content
