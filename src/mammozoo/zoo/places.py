"""Where the files of a zoo's model are on this machine. Nothing here asks a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mammozoo.errors import FailedError
from mammozoo.files import sha256
from mammozoo.zoo.entry import Entry, FolderSource, HubSource, PackageSource


@dataclass(frozen=True)
class Listed:
    """A model, and the `zoo.yaml` that lists it."""

    entry: Entry
    zoo: Path

    @property
    def folder(self) -> Path:
        """Where its files are, or will be once it is pulled.

        Raises:
            NotFoundError: the package that brings it is not installed.
            RegistryError: its path leads out of its package or zoo.
        """
        source = self.entry.source
        if isinstance(source, PackageSource):
            return source.folder()
        return source.folder(self.zoo) if isinstance(source, FolderSource) else snapshot(source)

    @property
    def from_hub(self) -> HubSource | None:
        """Its source, if that is the Hub."""
        return self.entry.source if isinstance(self.entry.source, HubSource) else None

    @property
    def where(self) -> str:
        """Its source in words."""
        source = self.entry.source
        if isinstance(source, PackageSource):
            return f"package {source.package}"
        return (
            f"hub {source.hub}@{source.revision[:7]}" if isinstance(source, HubSource) else f"folder {self.zoo.parent}"
        )

    @property
    def state(self) -> str:
        """`packaged`, `folder`, `pulled` or `not pulled`: by whether the files are there, not by what is in them."""
        if self.from_hub is None:
            return "packaged" if isinstance(self.entry.source, PackageSource) else "folder"
        return "pulled" if all((self.folder / file).is_file() for file in self.entry.files) else "not pulled"


def snapshot(source: HubSource) -> Path:
    """The folder of a commit in the cache of the Hub's client, which other programs share."""
    return repository_folder(source.hub) / "snapshots" / source.revision


def repository_folder(repository: str) -> Path:
    """The folder of a model repository in that cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def joined_folder(full_sha256: str, adapter: Path) -> Path:
    """Where the whole model is kept that the adapter in a folder makes with its base: named by its weights and its config.

    Raises:
        FailedError: there is no cache.
    """
    from mammozoo.data.cache import cache_folder

    root = cache_folder()
    if root is None:
        raise FailedError("An adapter and its base are put together in a cache, and there is none. Set MAMMOZOO_CACHE.")
    return root / "joined" / f"{full_sha256[:32]}-{sha256(adapter / 'config.json')[:16]}"
