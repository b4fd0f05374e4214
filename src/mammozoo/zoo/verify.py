"""Check that a model is what its zoo promises: its files at every load, its weights on request."""

from __future__ import annotations

from pathlib import Path

from packaging.specifiers import SpecifierSet

import mammozoo
from mammozoo.errors import IncompatibleError, NotFoundError, NotVerifiedError
from mammozoo.files import has_digest, promise, sha256
from mammozoo.zoo.entry import Entry, FolderSource, ZooModel


def has_hash(path: Path, digest: str | None, size: int | None = None) -> bool:
    """Whether `path` is a file with this hash, and this size in bytes if one is given.

    `digest` is a SHA-256 (64 hexadecimal digits) or git's blob id (40). No file has the digest None.
    """
    if digest is None or not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    if len(digest) == 64:
        return sha256(path) == digest
    return has_digest(path.read_bytes(), digest)


def check_usable(entry: Entry) -> None:
    """Raise NotFoundError if a model was withdrawn, IncompatibleError if it needs another mammozoo."""
    if entry.withdrawn:
        raise NotFoundError(f"Model '{entry.name}' {entry.version} was withdrawn: {entry.withdrawn}.")
    if not SpecifierSet(entry.requires).contains(mammozoo.__version__, prereleases=True):
        this = f"this is {mammozoo.__version__}. Install another version"
        raise IncompatibleError(f"Model '{entry.name}' needs mammozoo {entry.requires}; {this}.")


def verify(model: ZooModel) -> Path:
    """The folder of a model after a check that every file has its promised size and SHA-256.

    Raises:
        NotFoundError: it was never pulled.
        NotVerifiedError: a file is missing or differs, or is a link that leads out of a directory zoo.

    Reading them later raises it too, if a file has changed by then.
    """
    entry, folder = model.entry, model.folder
    if model.from_hub and not folder.is_dir():
        raise NotFoundError(
            f"Model '{entry.name}' is on the Hub ('{model.from_hub.hub}', {entry.size / 1e6:.1f} MB) and not on this machine. "
            f"Get it with `mammozoo zoo pull {entry.name}`."
        )
    in_zoo = isinstance(entry.source, FolderSource)
    remedy = "Copy the zoo again." if in_zoo else "Install mammozoo again."
    if model.from_hub:
        remedy = f"Pull it again: `mammozoo zoo pull {entry.name}`."
    for name, promised in entry.files.items():
        path = folder / name
        what = f"Model '{entry.name}': '{path}'"
        if in_zoo and not path.resolve().is_relative_to(model.zoo.parent.resolve()):
            raise NotVerifiedError(f"{what} is a link that leads out of its zoo.")
        if not has_hash(path, promised.sha256, promised.size):
            fault = "is not the file that the zoo promises" if path.is_file() else "is missing"
            raise NotVerifiedError(f"{what} {fault}. {remedy}")
        promise(path, promised.sha256)
    return folder


def check_tensors(folder: Path) -> int:
    """Build a whole model by our own code and load its weights; returns their number.

    Raises IncompatibleError or NotVerifiedError if names or shapes do not fit, or a number is not finite.
    """
    from mammozoo.models.factory import load_model

    model, _ = load_model(folder)
    return sum(tensor.numel() for tensor in model.state_dict().values())
