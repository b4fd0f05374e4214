"""`zoo.yaml`: the models of a zoo, their sources, the size and SHA-256 of each file, and the facts about each model."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import pydantic
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field

from mammozoo.documents import Document
from mammozoo.errors import NotFoundError, RegistryError, problems

#: A model's name: also the name of its folder in a directory zoo.
NAME = r"^[a-z0-9][a-z0-9.-]{0,62}$"
#: A version: also the name of a folder in a directory zoo.
VERSION = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}$"
#: Files that a model may have. Nothing else is downloaded or read: no pickle, no Python.
FILE = r"^(README\.md|LICENSE|config\.json|[a-z0-9_-]+\.safetensors|figures/[a-z0-9_-]+\.png)$"
#: A repository of the Hub, `ORG/NAME`, as its client accepts it.
REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
#: A full commit id. Branches and tags can be moved, so they pin nothing.
COMMIT = r"^[0-9a-f]{40}$"

#: Names that Windows keeps for devices, whatever follows after a dot.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def is_portable(path: str) -> bool:
    """Whether a relative path is one on every system: Windows reserves the names of devices, and drops dots at the end."""
    return not any(part.split(".")[0].rstrip().lower() in _DEVICES or part.endswith(".") for part in path.split("/"))


def is_file_of_a_model(name: str) -> bool:
    """Whether a model may have a file of this name."""
    return bool(re.fullmatch(FILE, name)) and is_portable(name)


def _portable(path: str) -> str:
    if not is_portable(path):
        raise ValueError(f"'{path}' is a name that Windows reserves")
    return path


Portable = pydantic.AfterValidator(_portable)
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Part(pydantic.BaseModel):
    """Base of what is read from files: fixed fields, and nothing unknown."""

    model_config = pydantic.ConfigDict(defer_build=True, extra="forbid", frozen=True)


class PackageSource(Part):
    """A folder inside an installed package."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
    path: str

    def folder(self, zoo: Path) -> Path:
        """The folder on this machine; the package is located, not imported."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise NotFoundError(f"The package '{self.package}', which brings this model, is not installed.")
        return inside(Path(spec.origin).parent, self.path, "its package")


class FolderSource(Part):
    """A folder of a directory zoo, relative to the `zoo.yaml` that lists it."""

    path: str

    def folder(self, zoo: Path) -> Path:
        """The folder on this machine; `zoo` is the path of that `zoo.yaml`."""
        return inside(zoo.parent, self.path, "its zoo")


class HubSource(Part):
    """A commit of a model repository on the Hugging Face Hub."""

    hub: Annotated[str, Field(pattern=REPOSITORY)]
    revision: Annotated[str, Field(pattern=COMMIT)]

    def folder(self, zoo: Path | None = None) -> Path:
        """Its snapshot in the cache of the Hub's client, which other programs share; it exists once it is pulled."""
        from huggingface_hub.constants import HF_HUB_CACHE

        return Path(HF_HUB_CACHE) / f"models--{self.hub.replace('/', '--')}" / "snapshots" / self.revision


def _kind_of_source(given: Any) -> str:
    keys = given if isinstance(given, dict) else type(given).model_fields if isinstance(given, Part) else ()
    return next((kind for kind in ("hub", "package") if kind in keys), "path")


Source = Annotated[
    Annotated[PackageSource, pydantic.Tag("package")]
    | Annotated[HubSource, pydantic.Tag("hub")]
    | Annotated[FolderSource, pydantic.Tag("path")],
    pydantic.Discriminator(_kind_of_source),
]


class File(Part):
    """SHA-256 and size in bytes that a file must have."""

    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


class Cut(Part):
    """The threshold in force: of the positive (last) class's probability, its name, and the data on which it was chosen."""

    name: str
    value: Annotated[float, Field(ge=0, le=1)]
    chosen_on: str


class EntryTraining(Part):
    """Origin of the weights; `images` counts the images of each part (train, val, test)."""

    dataset: str
    images: dict[str, Annotated[int, Field(ge=0)]] = {}
    split_sha256: Sha256


class Score(Part):
    """A score with its 95 % interval; None if it is undefined. `n` counts its images where they are not all of the part."""

    value: Number | None
    low: Number | None = None
    high: Number | None = None
    n: Annotated[int, Field(ge=0)] | None = None


class EntryEvaluation(Part):
    """Scores on `n` images of the `part` of a data set, none of which was used in training or model selection."""

    dataset: str
    part: str = "test"
    n: Annotated[int, Field(ge=1)]
    scores: Annotated[dict[str, Score], Field(min_length=1)]


class Base(Part):
    """The base of an adapter: a model of a zoo, and the SHA-256 of its whole `model.safetensors`."""

    name: Annotated[str, Field(pattern=NAME)]
    sha256: Sha256


class Entry(Part):
    """One model of a zoo. Fields with a default may be left out.

    Attributes:
        license: SPDX identifier of the weights' licence.
        data_terms: terms of use of the data behind them.
        withdrawn: the reason for withdrawal; the model is then listed and refused.
        requires: versions of mammozoo that can read it (PEP 440), such as `>=0.2,<1`.
        classes: negative first, positive last.
        input_size: height and width in pixels.
        stamps: warning labels of its outputs and scores.
        base: the base of an adapter, whose files include `adapter.safetensors`.
        full_sha256: SHA-256 of the `model.safetensors` that an adapter and its base make.
    """

    name: Annotated[str, Field(pattern=NAME), Portable]
    version: Annotated[str, Field(pattern=VERSION), Portable]
    summary: str
    source: Source
    files: dict[Annotated[str, Field(pattern=FILE), Portable], File]
    license: str
    data_terms: str
    intended_use: str
    withdrawn: str = ""
    requires: str = ""
    classes: tuple[str, ...] = ()
    input_size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    threshold: Cut | None = None
    training: EntryTraining | None = None
    evaluation: tuple[EntryEvaluation, ...] = ()
    stamps: tuple[str, ...] = ()
    base: Base | None = None
    full_sha256: Sha256 | None = None

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Self:
        weights = "adapter.safetensors" if self.base else "model.safetensors"
        for file in ("config.json", weights):
            if file not in self.files:
                raise ValueError(f"files: {file} is missing")
        if (self.base is None) != (self.full_sha256 is None):
            raise ValueError("base and full_sha256 belong together: an adapter has both, other models neither")
        try:
            SpecifierSet(self.requires)
        except InvalidSpecifier:
            raise ValueError(f"requires: '{self.requires}' is not a range of versions, such as '>=0.2,<1'") from None
        return self

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True)
class ZooModel:
    """A model, and the `zoo.yaml` that lists it."""

    entry: Entry
    zoo: Path

    @property
    def folder(self) -> Path:
        """The folder of its files, which for a model on the Hub exists once it is pulled.

        Raises NotFoundError without the package that brings it, RegistryError if its path leads out of its package or zoo.
        """
        return self.entry.source.folder(self.zoo)

    @property
    def from_hub(self) -> HubSource | None:
        """Its source if that is the Hub, else None."""
        return self.entry.source if isinstance(self.entry.source, HubSource) else None

    @property
    def where(self) -> str:
        """Its source in words."""
        source = self.entry.source
        if isinstance(source, HubSource):
            return f"hub {source.hub}@{source.revision[:7]}"
        return f"package {source.package}" if isinstance(source, PackageSource) else f"folder {self.zoo.parent}"

    @property
    def state(self) -> str:
        """`packaged`, `folder`, `pulled` or `not pulled`; the files are looked for, not read."""
        if self.from_hub is None:
            return "packaged" if isinstance(self.entry.source, PackageSource) else "folder"
        return "pulled" if all((self.folder / file).is_file() for file in self.entry.files) else "not pulled"


class Zoo(Part):
    """A whole `zoo.yaml`."""

    schema_version: Literal[1] = Field(alias="schema")
    default: str | None = None
    models: tuple[Entry, ...]


def read_zoo(path: Path) -> Zoo:
    """Read and validate a `zoo.yaml`.

    Raises:
        RegistryError: it is not valid. The message names the line: YAML that is not plain (aliases, tags, a key given
            twice), a field that is missing, unknown or of the wrong type, a file that no model may have.
    """
    document = Document.read(path, RegistryError)
    schema = document.content.get("schema") if isinstance(document.content, dict) else None
    if isinstance(schema, int) and schema > 1:
        raise RegistryError(f"'{path}' has schema {schema}; this mammozoo reads 1. Install a newer one.")
    try:
        return Zoo.model_validate(document.content)
    except pydantic.ValidationError as error:
        line = document.line(error.errors()[0]["loc"])
        raise RegistryError(f"'{path}' is not a valid zoo: line {line}: {problems(error, most=1)}.") from None


def inside(base: Path, relative: str, what: str) -> Path:
    """`base / relative` with links followed; RegistryError if it is outside `base`, which `what` names."""
    folder = (base / relative).resolve()
    if PurePosixPath(relative).is_absolute() or not folder.is_relative_to(base.resolve()):
        raise RegistryError(f"A zoo entry's path '{relative}' leads out of {what}.")
    return folder
