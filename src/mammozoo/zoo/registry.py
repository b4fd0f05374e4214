"""`zoo.yaml`: which models there are, and the SHA-256 of each of their files. Every load checks the bytes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import Field

from mammozoo.errors import ConflictError, NotFoundError, NotVerifiedError, RegistryError, nearest
from mammozoo.files import sha256
from mammozoo.plugins import registry


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class PackageSource(_Part):
    """A folder inside an installed package."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
    path: str

    def folder(self) -> Path:
        """Where it is on this machine; the package is found, not imported."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise NotFoundError(f"The package '{self.package}', which brings this model, is not installed.")
        return _inside(Path(spec.origin).parent, self.path)


class File(_Part):
    """A file as it must be."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class Entry(_Part):
    """One model of a zoo."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    version: str
    summary: str
    source: PackageSource
    files: dict[Annotated[str, Field(pattern=r"^(README\.md|config\.json|[a-z0-9_-]+\.safetensors)$")], File]
    license: str
    data_terms: str
    intended_use: str


class Zoo(_Part):
    """A whole `zoo.yaml`."""

    schema_version: Literal[1] = Field(alias="schema")
    default: str | None = None
    models: tuple[Entry, ...]


def read_zoo(path: Path) -> Zoo:
    """A `zoo.yaml`, validated.

    Raises:
        RegistryError: it is not one.
    """
    try:
        return Zoo.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RegistryError(f"'{path}' is not a valid zoo: {where}: {first['msg']}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RegistryError(f"'{path}' cannot be read: {' '.join(str(error).split())}.") from None


def packaged_zoo() -> Path:
    """The `zoo.yaml` that comes with mammozoo; a checkout's own, where it runs from one, is newer than the copy in it."""
    checkout = Path(__file__).parents[3] / "zoo.yaml"
    return checkout if checkout.is_file() else Path(__file__).parents[1] / "zoo.yaml"


def entries() -> dict[str, Entry]:
    """Every model of the packaged zoo and of the plugins' zoos, by name.

    Raises:
        ConflictError: two zoos have a model of one name.
    """
    found: dict[str, Entry] = {}
    origin: dict[str, Path] = {}
    for path in [packaged_zoo(), *(item.value for item in registry().items("zoos").values())]:
        for entry in read_zoo(path).models:
            if entry.name in found:
                raise ConflictError(f"Two zoos have a model '{entry.name}': '{origin[entry.name]}' and '{path}'.")
            found[entry.name], origin[entry.name] = entry, path
    return found


def default_model() -> str:
    """The model that `mammozoo predict` uses when it is told none."""
    name = read_zoo(packaged_zoo()).default
    if name is None:
        raise NotFoundError("The packaged zoo names no default model; say which with --model.")
    return name


def find_model(reference: str) -> Path:
    """The folder of a model: `zoo:NAME`, `NAME`, or a folder (a run, or a model's own).

    Raises:
        NotFoundError: no such model.
        NotVerifiedError: a file of a zoo model is not the one that its entry promises.
    """
    name = reference.removeprefix("zoo:")
    if not reference.startswith("zoo:") and (Path(name).expanduser() / "config.json").is_file():
        return Path(name).expanduser()
    known = entries()
    if name not in known:
        looks_like_path = re.search(r"[/\\]|^\.", name) or Path(name).exists()
        what = f"There is no model in '{name}' (no config.json)" if looks_like_path else f"Unknown model '{name}'"
        raise NotFoundError(f"{what}.{nearest(name, known)} The zoo has: {', '.join(sorted(known)) or 'nothing yet'}.")
    folder = known[name].source.folder()
    verify(known[name], folder)
    return folder


def verify(entry: Entry, folder: Path) -> None:
    """Raise NotVerifiedError unless every file of `entry` is in `folder` with its size and SHA-256."""
    for name, expected in entry.files.items():
        path = folder / name
        if not path.is_file():
            raise NotVerifiedError(f"Model '{entry.name}': '{path}' is missing. Install mammozoo again.")
        if path.stat().st_size != expected.size or sha256(path) != expected.sha256:
            raise NotVerifiedError(
                f"Model '{entry.name}': '{path}' is not the file that the zoo promises. Install mammozoo again."
            )


def _inside(base: Path, relative: str) -> Path:
    folder = (base / relative).resolve()
    if not folder.is_relative_to(base.resolve()):
        raise RegistryError(f"A zoo entry's path '{relative}' leads out of its package.")
    return folder
