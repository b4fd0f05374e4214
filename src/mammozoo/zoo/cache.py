"""The cache of pulled and joined models. Pulled ones lie in the cache of the Hub's client, shared with other programs."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from mammozoo.data.cache import cache_folder
from mammozoo.errors import FailedError, UsageError
from mammozoo.files import locked, sha256
from mammozoo.zoo.entry import HubSource, ZooModel

#: The client's name for an unfinished download: the hash of the content, and a mark of the process. It never resumes such a file.
_PARTIAL = re.compile(r"^([0-9a-f]{40}|[0-9a-f]{64})\.[0-9a-f]{8}\.incomplete$")
#: The lock file in a folder that somebody works in.
LOCK = ".lock"


def own_folder(source: HubSource) -> Path:
    """Where mammozoo keeps its notes and unfinished downloads of a repository: in its folder of the client's cache."""
    return source.folder().parents[1] / ".mammozoo"


def joined_folder(full_sha256: str, adapter: Path) -> Path:
    """The folder for the whole model of the adapter in a folder: named by the hashes of its weights and its config."""
    root = cache_folder()
    if root is None:
        raise FailedError("An adapter and its base are joined in a cache, and there is none. Set MAMMOZOO_CACHE.")
    return root / "joined" / f"{full_sha256[:32]}-{sha256(adapter / 'config.json')[:16]}"


def remove(model: ZooModel | HubSource) -> int:
    """Remove a pulled model, and return the bytes freed; files that another commit of its repository needs stay.

    Raises UsageError if it was not pulled.
    """
    freed, source = 0, model
    if isinstance(model, ZooModel):
        if model.from_hub is None:
            why = f"it comes with {model.where}, which mammozoo leaves alone"
            raise UsageError(f"Model '{model.entry.name}' was not pulled; {why}.")
        source = model.from_hub
        if model.entry.full_sha256 and (model.folder / "config.json").is_file():
            joined = joined_folder(model.entry.full_sha256, model.folder)
            freed = sum(path.stat().st_size for path in joined.glob("*"))
            shutil.rmtree(joined, ignore_errors=True)
    assert isinstance(source, HubSource)
    if source.folder().is_dir():
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.constants import HF_HUB_CACHE

        plan = scan_cache_dir(HF_HUB_CACHE).delete_revisions(source.revision)
        plan.execute()
        (own_folder(source) / f"{source.revision}.json").unlink(missing_ok=True)
        freed += plan.expected_freed_size
    return freed


def clean() -> tuple[int, int]:
    """Remove what killed processes left in the caches: (number of files, bytes freed).

    Who downloads or joins holds a lock, and what it works at stays.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    cache, root = Path(HF_HUB_CACHE), cache_folder()
    pulls = [*cache.glob("models--*/.mammozoo/pull-*")]
    joined = {path.parent for path in root.glob("joined/*/.*.tmp")} if root else ()
    begun: list[tuple[Path, Iterable[Path]]] = [(folder / LOCK, folder.glob("*/models--*/blobs/*")) for folder in pulls]
    begun += [(folder / LOCK, folder.glob(".*.tmp")) for folder in joined]
    for path in cache.glob("models--*/blobs/*.incomplete"):  # of the client, for other programs
        if match := _PARTIAL.match(path.name):
            begun.append((cache / ".locks" / path.parents[1].name / f"{match[1]}.lock", [path]))
    removed: list[int] = []
    for lock, files in begun:
        with contextlib.suppress(TimeoutError), locked(lock, patience=0) as alone:
            removed += map(_removed, files if alone else ())
            if alone and lock.parent in pulls:
                shutil.rmtree(lock.parent, ignore_errors=True)
    return len(removed), sum(removed)


def _removed(path: Path) -> int:
    """The size of a file, which is removed; 0 if it has just gone."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
