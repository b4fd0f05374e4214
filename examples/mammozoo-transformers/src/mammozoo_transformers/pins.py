"""`mammozoo.yaml` beside a model's files: which bytes they are, under which licence, and what the model does not say itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pydantic
import yaml
from mammozoo.documents import Document
from mammozoo.errors import ConflictError, IncompatibleError, NotVerifiedError, UsageError, problems
from mammozoo.files import sha256, write_text
from mammozoo.models.config import Threshold
from pydantic import Field

RECORD = "mammozoo.yaml"
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Pins(pydantic.BaseModel):
    """The content of `mammozoo.yaml`.

    Attributes:
        files: name → SHA-256, of each of `FILES`.
        licence: of the weights; null says that it is not known.
        revision: the commit on the Hub, where they are from there.
        classes: in the order of `id2label`, if the data sets call them otherwise; of two the second is the positive one.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    files: dict[str, Digest]
    licence: str | None
    revision: str = ""
    classes: tuple[str, ...] = ()
    temperature: Annotated[float, Field(ge=0.01, le=100)] | None = None
    thresholds: dict[str, Threshold] = {}
    threshold: str = ""
    stamps: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Pins:
        if lacking := [name for name in FILES if name not in self.files]:
            raise ValueError(f"`files` does not pin {lacking[0]}")
        if self.threshold and self.threshold not in self.thresholds:
            raise ValueError(f"`threshold` names '{self.threshold}', which is not among `thresholds`")
        return self


def checked(folder: Path) -> Pins:
    """The pins in `folder`, after the files were compared with them.

    Raises:
        UsageError: there are none, or they do not say what they must.
        IncompatibleError: a file is missing.
        NotVerifiedError: a file is another one.
    """
    whole(folder)
    path = folder / RECORD
    if not path.is_file():
        raise UsageError(
            f"The model in '{folder}' is not pinned. To fix the SHA-256 of its files, run: python -m mammozoo_transformers {folder}"
        )
    try:
        pins = Pins.model_validate(Document.read(path, UsageError).content)
    except pydantic.ValidationError as error:
        raise UsageError(f"'{path}' does not say what it must: {problems(error, 'it', 1)}.") from None
    for name, digest in pins.files.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise IncompatibleError(f"'{path}' pins '{name}', which is no file beside it.")
        if sha256(folder / name) != digest:
            raise NotVerifiedError(
                f"'{folder / name}' is not the file that '{path}' pins. Get the pinned one, or check the new one and pin it."
            )
    return pins


def pin(folder: Path, licence: str | None = None, revision: str = "") -> Path:
    """Write the SHA-256 of the files in `folder` into `mammozoo.yaml` there, and return its path.

    Args:
        licence: by default what the head of `README.md` says.
        revision: by default the name of a snapshot in the cache of the Hub.

    Raises:
        ConflictError: it is there already.
        IncompatibleError: a file is missing.
    """
    whole(folder)
    path = folder / RECORD
    if path.exists():
        raise ConflictError(f"'{path}' already exists. Delete it to pin other files.")
    if not revision and folder.absolute().parent.name == "snapshots":
        revision = folder.absolute().name
    content = {
        "files": {name: sha256(folder / name) for name in FILES},
        "licence": licence or _licence(folder),
        **({"revision": revision} if revision else {}),
    }
    return write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def whole(folder: Path) -> None:
    """Raise IncompatibleError for a folder without weights in safetensors, or without its image processor."""
    for name in FILES:
        if not (folder / name).is_file():
            other = next((path.name for kind in ("*.bin", "*.pt", "*.index.json") for path in folder.glob(kind)), "")
            why = f" '{other}' is not read: pickles can run code, and weights in parts have no one digest." * bool(
                other
            )
            raise IncompatibleError(f"The model in '{folder}' has no {name}.{why}")


def _licence(folder: Path) -> str | None:
    """What the head of the model card says."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    head = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", head[1], re.MULTILINE) if head else None
    return found[1] if found else None
