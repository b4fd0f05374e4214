"""Whether a model is what its zoo promises. Files at every load; tensors and the Hub on request."""

from __future__ import annotations

from pathlib import Path

from packaging.specifiers import SpecifierSet

import mammozoo
from mammozoo.errors import IncompatibleError, NotFoundError, NotVerifiedError
from mammozoo.files import sha256
from mammozoo.zoo.entry import Entry, File, FolderSource
from mammozoo.zoo.hub import describe
from mammozoo.zoo.places import Listed


def kept(path: Path, promised: File) -> bool:
    """Whether a file is there with the size and the SHA-256 that were promised."""
    return path.is_file() and path.stat().st_size == promised.size and sha256(path) == promised.sha256


def check_usable(entry: Entry) -> None:
    """Raise unless this mammozoo may use the model.

    Raises:
        NotFoundError: it was withdrawn.
        IncompatibleError: it needs another version.
    """
    if entry.withdrawn:
        raise NotFoundError(f"Model '{entry.name}' {entry.version} was withdrawn: {entry.withdrawn}.")
    if not SpecifierSet(entry.requires).contains(mammozoo.__version__, prereleases=True):
        raise IncompatibleError(
            f"Model '{entry.name}' needs mammozoo {entry.requires}; this is {mammozoo.__version__}. Install another version."
        )


def verify(listed: Listed) -> Path:
    """The folder of a model, every file of which has its promised size and SHA-256.

    Raises:
        NotFoundError: it was never pulled.
        NotVerifiedError: a file is missing or another one, or is a link that leads out of a directory zoo.
    """
    entry, folder = listed.entry, listed.folder
    if listed.from_hub and not folder.is_dir():
        raise NotFoundError(
            f"Model '{entry.name}' is on the Hub ('{listed.from_hub.hub}', {entry.size / 1e6:.1f} MB) and not on this machine. "
            f"Get it with `mammozoo zoo pull {entry.name}`."
        )
    for name, promised in entry.files.items():
        path = folder / name
        if isinstance(entry.source, FolderSource) and not path.resolve().is_relative_to(listed.zoo.parent.resolve()):
            raise NotVerifiedError(f"Model '{entry.name}': '{path}' is a link that leads out of its zoo.")
        if not path.is_file():
            raise NotVerifiedError(f"Model '{entry.name}': '{path}' is missing. {_again(listed)}")
        if not kept(path, promised):
            raise NotVerifiedError(
                f"Model '{entry.name}': '{path}' is not the file that the zoo promises. {_again(listed)}"
            )
    return folder


def check_tensors(folder: Path) -> int:
    """Build a whole model by our own code, load its weights (names and shapes must be the same), and look at each of them.

    Returns:
        The number of weights.

    Raises:
        IncompatibleError, NotVerifiedError: they do not fit, or are not all finite.
    """
    import torch

    from mammozoo.models.factory import load_model

    model, _ = load_model(folder)
    state = model.state_dict()
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise NotVerifiedError(f"'{folder}': tensor '{name}' has values that are not finite.")
    return sum(tensor.numel() for tensor in state.values())


def check_remote(listed: Listed) -> None:
    """Ask the Hub whether it still has the files of a model as promised; nothing is downloaded.

    Raises:
        NotFoundError: the repository, the commit or a file is gone.
        NotVerifiedError: a file there has another size or SHA-256.
        UnreachableError, AccessError: as they say.
    """
    source = listed.from_hub
    if source is None:
        return
    there = {file.rfilename: file for file in describe(source.hub, source.revision).siblings or ()}
    for name, promised in listed.entry.files.items():
        if name not in there:
            raise NotFoundError(f"'{source.hub}' has no file '{name}' in commit {source.revision[:7]}.")
        size, lfs = there[name].size, there[name].lfs
        if (size is not None and size != promised.size) or (lfs is not None and lfs.sha256 != promised.sha256):
            raise NotVerifiedError(
                f"Model '{listed.entry.name}': '{name}' at '{source.hub}' is not the file that the zoo promises. Nothing was "
                "downloaded. Tell who keeps the zoo."
            )


def _again(listed: Listed) -> str:
    if listed.from_hub:
        return f"Pull it again: `mammozoo zoo pull {listed.entry.name}`."
    return "Copy the zoo again." if isinstance(listed.entry.source, FolderSource) else "Install mammozoo again."
