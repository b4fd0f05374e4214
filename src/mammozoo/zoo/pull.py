"""Get a model from the Hub: listed files only, each checked against its hash, into the cache of the Hub's client.

Files that are present and right are not requested again. A file that arrives damaged is removed and fetched once more. The
client downloads beside the final place and renames, so a kill leaves no partial file under a final name, and any number of
processes may pull at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mammozoo.errors import NotFoundError, NotVerifiedError, UnreachableError, UsageError
from mammozoo.zoo.entry import COMMIT, FILE, REPOSITORY, HubSource, ZooModel
from mammozoo.zoo.hub import describe, digest, endpoint, fetch, files_of, offline
from mammozoo.zoo.verify import check_usable, has_hash, verify

log = logging.getLogger(__name__)

#: The form of a reference to a commit on the Hub.
REFERENCE = "hub:ORG/NAME@COMMIT"
#: Path of a file → its hash and, if known, its size in bytes.
Files = Mapping[str, tuple[str | None, int | None]]


def pull(model: ZooModel) -> Path:
    """The folder of a model, every file of it present and checked; no request if that is so already.

    Raises:
        UnreachableError, AccessError, NotFoundError: the Hub does not answer, denies access, or does not have the model.
        NotVerifiedError: the Hub has other files than the zoo promises, or a file arrives damaged twice.
        FailedError: the disk is full.
    """
    entry, source = model.entry, model.from_hub
    check_usable(entry)
    if source is None:
        return verify(model)
    promised: Files = {name: (file.sha256, file.size) for name, file in entry.files.items()}
    wrong = _wrong(source, promised)
    if wrong and offline():
        for path in (model.folder / name for name in wrong):
            if path.is_file():
                broken = f"Model '{entry.name}': '{path}' is not the file that the zoo promises"
                raise NotVerifiedError(f"{broken}, and HF_HUB_OFFLINE is set. Unset it and pull again.")
        raise UnreachableError(
            f"Model '{entry.name}' is not on this machine, and HF_HUB_OFFLINE is set. Unset it, or copy a zoo in (`mammozoo "
            "zoo export`) and name its folder in MAMMOZOO_ZOO."
        )
    if wrong:
        check_remote(model)
    return _downloaded(source, wrong, promised)


def check_remote(model: ZooModel) -> None:
    """Ask the Hub whether it still has the files of a model as promised; nothing is downloaded.

    Raises NotFoundError or NotVerifiedError if it has not; UnreachableError or AccessError if it does not say.
    """
    source = model.from_hub
    if source is None:
        return
    remote = files_of(describe(source.hub, source.revision))
    for name, promised in model.entry.files.items():
        if name not in remote:
            raise NotFoundError(f"'{source.hub}' has no file '{name}' in commit {source.revision[:7]}.")
        size, lfs = remote[name].size, remote[name].lfs
        if (size is not None and size != promised.size) or (lfs is not None and lfs.sha256 != promised.sha256):
            raise NotVerifiedError(
                f"Model '{model.entry.name}': '{name}' at '{source.hub}' is not the file that the zoo promises. Nothing was "
                "downloaded. Tell the maintainer of the zoo."
            )


def pull_reference(reference: str) -> Path:
    """The folder of `hub:ORG/NAME@COMMIT`; no request if it is present and right already.

    No zoo promises these files. They are checked against the hashes under which the Hub stores them. Raises as `pull` and
    `parse_reference` do.
    """
    source = parse_reference(reference)
    log.warning("No zoo entry vouches for '%s'; its files are checked against the Hub's own hashes.", reference)
    cached = _cached(source)
    if _is_model(cached):
        wrong = _wrong(source, cached)
        if not wrong:
            return source.folder()
        if offline():
            damaged = source.folder() / wrong[0]
            raise NotVerifiedError(f"'{damaged}' is damaged, and HF_HUB_OFFLINE is set. Unset it and try again.")
    remote = files_of(describe(source.hub, source.revision))
    promised: Files = {name: (digest(file), file.size) for name, file in remote.items() if re.match(FILE, name)}
    if not _is_model(promised):
        what = f"'{source.hub}' at {source.revision[:7]}"
        raise NotFoundError(f"{what} is not a mammozoo model: it needs config.json and model.safetensors.")
    return _downloaded(source, _wrong(source, promised), promised)


def parse_reference(reference: str) -> HubSource:
    """The repository and commit of `hub:ORG/NAME@COMMIT`; UsageError for any other form, such as a branch, which can be moved."""
    repository, _, revision = reference.removeprefix("hub:").partition("@")
    if not reference.startswith("hub:") or not re.match(REPOSITORY, repository) or not re.match(COMMIT, revision):
        raise UsageError(
            f"'{reference}' is not {REFERENCE}, where COMMIT is the full id (40 hexadecimal digits). Tags and branches can be "
            f"moved; {endpoint()}/ORG/NAME/commits/main lists the ids."
        )
    return HubSource(hub=repository, revision=revision)


def _is_model(files: Files) -> bool:
    return "config.json" in files and not files.keys().isdisjoint({"model.safetensors", "adapter.safetensors"})


def _wrong(source: HubSource, files: Files) -> list[str]:
    """The files that are missing on this machine or differ."""
    return [name for name, promised in files.items() if not has_hash(source.folder() / name, *promised)]


def _cached(source: HubSource) -> Files:
    """The files in the cache, which names the content of each by the Hub's hash."""
    folder, files = source.folder(), {}
    for path in folder.rglob("*"):
        name, blob = path.relative_to(folder).as_posix(), path.resolve().name
        if path.is_symlink() and re.match(FILE, name) and re.match(r"^([0-9a-f]{40}|[0-9a-f]{64})$", blob):
            files[name] = (blob, None)
    return files


def _downloaded(source: HubSource, names: Iterable[str], promised: Files) -> Path:
    """Fetch files and check them, a damaged one once more; returns the folder with them."""
    for name in names:
        path = source.folder() / name
        for _ in range(2):
            _remove(path)
            path = fetch(source.hub, name, source.revision)
            if has_hash(path, *promised[name]):
                break
            log.warning("'%s' of '%s' arrived damaged.", name, source.hub)
        else:
            _remove(path)
            raise NotVerifiedError(
                f"'{name}' of '{source.hub}' arrived damaged twice: another size or SHA-256 than promised. Nothing of it was "
                f"kept. Something between here and {endpoint()} changes files, or its storage is damaged."
            )
    return source.folder()


def _remove(path: Path) -> None:
    """Remove a file of the cache, and the content that it links to."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    content.unlink(missing_ok=True)
