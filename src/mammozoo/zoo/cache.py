"""What pulled models take on this machine, and how to be rid of it. The cache is that of the Hub's client, shared with others."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from mammozoo.data.cache import cache_folder
from mammozoo.errors import UsageError
from mammozoo.zoo.entry import HubSource
from mammozoo.zoo.places import Listed, joined_folder, repository_folder, snapshot

#: How the client names what it is downloading: the content's hash, and a mark of the process. Nobody continues such a file.
_PARTIAL = re.compile(r"^([0-9a-f]{40}|[0-9a-f]{64})\.[0-9a-f]{8}\.incomplete$")


def remove(model: Listed | HubSource) -> int:
    """Remove a pulled model; files that another commit of its repository needs stay.

    Returns:
        The bytes that are free now.

    Raises:
        UsageError: it was not pulled; it comes with a package or a folder.
    """
    source = model.from_hub if isinstance(model, Listed) else model
    if source is None:
        assert isinstance(model, Listed)
        raise UsageError(
            f"Model '{model.entry.name}' was not pulled; it comes with {model.where}, which mammozoo leaves alone."
        )
    freed = 0
    if isinstance(model, Listed) and model.entry.full_sha256 and (model.folder / "config.json").is_file():
        joined = joined_folder(model.entry.full_sha256, model.folder)
        freed = _size(joined)
        shutil.rmtree(joined, ignore_errors=True)
    return freed + _remove_snapshot(source)


def _remove_snapshot(source: HubSource) -> int:
    from huggingface_hub import scan_cache_dir

    if not snapshot(source).is_dir():
        return 0
    cache = scan_cache_dir(repository_folder(source.hub).parent)
    plan = cache.delete_revisions(source.revision)
    plan.execute()
    return plan.expected_freed_size


def clean() -> tuple[int, int]:
    """Remove what killed downloads left in the cache: files, and bytes that are free now.

    A file that somebody is downloading is locked, and stays.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    files = freed = 0
    cache = Path(HF_HUB_CACHE)
    for path in cache.glob("models--*/blobs/*.incomplete"):
        if (match := _PARTIAL.match(path.name)) and _is_left(
            cache / ".locks" / path.parents[1].name / f"{match[1]}.lock"
        ):
            freed += path.stat().st_size
            files += 1
            path.unlink(missing_ok=True)
    if root := cache_folder():
        for path in root.glob("joined/.*"):
            freed += _size(path)
            files += 1
            shutil.rmtree(path, ignore_errors=True)
    return files, freed


def _is_left(lock: Path) -> bool:
    """Whether nobody holds the client's lock."""
    from filelock import FileLock, Timeout

    if not lock.is_file():
        return True
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
