"""Get a model from the Hub: listed files only, each checked against its hash, into the cache of the Hub's client.

Files that are present and right are not requested again. A download goes into a folder of its own, and only what was found right
is moved from there into the cache, in one step. So a wrong file never appears there and a right one never goes, however many
processes pull; a lock only saves them downloading the same bytes.

    models--ORG--NAME/.mammozoo/COMMIT.json    the hashes by which the files of a commit were checked
    models--ORG--NAME/.mammozoo/pull-*/        a download under way
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mammozoo import progress
from mammozoo.documents import read_json
from mammozoo.errors import FailedError, MammozooError, NotFoundError, NotVerifiedError, UnreachableError, UsageError
from mammozoo.files import locked, promise, size_of, write_json
from mammozoo.zoo.cache import LOCK, own_folder
from mammozoo.zoo.entry import COMMIT, REPOSITORY, HubSource, ZooModel, is_file_of_a_model
from mammozoo.zoo.hub import describe, digest, download, endpoint, files_of, offline, translated
from mammozoo.zoo.verify import check_usable, has_hash, verify

log = logging.getLogger(__name__)

#: The form of a reference to a commit on the Hub.
REFERENCE = "hub:ORG/NAME@COMMIT"
#: Bytes of a commit above which a user is asked first.
MUCH = 10**9
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
    if not wrong:
        return _promised(source, promised)
    if offline():
        for path in (model.folder / name for name in wrong):
            if path.is_file():
                broken = f"Model '{entry.name}': '{path}' is not the file that the zoo promises"
                raise NotVerifiedError(f"{broken}, and HF_HUB_OFFLINE is set. Unset it and pull again.")
        raise UnreachableError(
            f"Model '{entry.name}' is not on this machine, and HF_HUB_OFFLINE is set. Unset it, or copy a zoo in (`mammozoo "
            "zoo export`) and name its folder in MAMMOZOO_ZOO."
        )
    check_remote(model)
    return _downloaded(source, promised)


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
                f"Model '{model.entry.name}': '{name}' at '{source.hub}' differs from the file that the zoo lists. Nothing was "
                "downloaded. Tell the maintainer of the zoo."
            )


def pull_reference(reference: str) -> Path:
    """The folder of `hub:ORG/NAME@COMMIT`; no request if it is present and right already.

    No zoo promises these files. They are checked against the hashes under which the Hub stores them. Raises as `pull` and
    `parse_reference` do, and FailedError if `progress.confirm` says no.
    """
    source = parse_reference(reference)
    log.warning("'%s' is in no zoo, so its files are checked only against the Hub's own hashes.", reference)
    cached = _cached(source)
    if _is_model(cached):
        wrong = _wrong(source, cached)
        if not wrong:
            return _promised(source, cached)
        damaged = [source.folder() / name for name in wrong if (source.folder() / name).is_file()]
        if damaged and offline():
            raise NotVerifiedError(f"'{damaged[0]}' is damaged, and HF_HUB_OFFLINE is set. Unset it and try again.")
    remote = files_of(describe(source.hub, source.revision))
    promised: Files = {name: (digest(file), file.size) for name, file in remote.items() if is_file_of_a_model(name)}
    if not _is_model(promised):
        what = f"'{source.hub}' at {source.revision[:7]}"
        raise NotFoundError(f"{what} is not a mammozoo model: it needs config.json and model.safetensors.")
    wrong = _wrong(source, promised)
    size = sum(remote[name].size or 0 for name in wrong)
    if wrong:
        log.warning("Getting %d files of it, %.1f MB.", len(wrong), size / 1e6)
    if size > MUCH and not progress.confirm(f"Get {size / 1e9:.1f} GB of '{source.hub}' from {endpoint()}?"):
        raise FailedError(f"'{reference}' was not fetched: it takes {size / 1e9:.1f} GB.")
    return _downloaded(source, promised)


def parse_reference(reference: str) -> HubSource:
    """The repository and commit of `hub:ORG/NAME@COMMIT`; UsageError for any other form, such as a branch, which can be moved."""
    repository, _, revision = reference.removeprefix("hub:").partition("@")
    if (
        not reference.startswith("hub:")
        or not re.fullmatch(REPOSITORY, repository)
        or not re.fullmatch(COMMIT, revision)
    ):
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
    """The files in the cache with the hashes by which they were checked, or else by which the client has named their contents."""
    record = own_folder(source) / f"{source.revision}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        kept = read_json(record).items()
        return {
            name: (digest, size)
            for name, (digest, size) in kept
            if is_file_of_a_model(name) and isinstance(digest, str)
        }
    folder, files = source.folder(), {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and is_file_of_a_model(name):
            blob = path.readlink().name
            if re.match(r"^([0-9a-f]{40}|[0-9a-f]{64})$", blob):
                files[name] = (blob, None)
    return files


def _downloaded(source: HubSource, promised: Files) -> Path:
    """The folder of a model, after the files that are missing or wrong were fetched."""
    own, wrong = own_folder(source), _wrong(source, promised)
    with contextlib.ExitStack() as stack:
        if wrong:
            with contextlib.suppress(TimeoutError):  # of somebody who is stuck
                stack.enter_context(locked(own / f"{source.revision}.lock", signs=lambda: size_of(own)))
            wrong = _wrong(source, promised)  # another process may have fetched them in the meantime
        for name in wrong:
            _get(source, name, promised[name])
        if wrong or _cached(source) != promised:
            with contextlib.suppress(MammozooError):  # a shared cache that is complete may be read-only
                write_json(own / f"{source.revision}.json", dict(promised))
    return _promised(source, promised)


def _promised(source: HubSource, files: Files) -> Path:
    """The folder of files that were found right; reading them later is an error if they have changed by then."""
    for name, (promised, _) in files.items():
        promise(source.folder() / name, str(promised))
    return source.folder()


def _get(source: HubSource, name: str, promised: tuple[str | None, int | None]) -> None:
    """Put a file of a commit into the cache, once it has arrived as promised; a damaged one is fetched once more."""
    from huggingface_hub.file_download import are_symlinks_supported

    repository, pointer = source.folder().parents[1], source.folder() / name
    blob = repository / "blobs" / str(promised[0])
    with translated(source.hub, source.revision, name), _staging(own_folder(source)) as (one, other):
        # Of another commit with the same file.
        if has_hash(blob, *promised) and are_symlinks_supported(repository.parent):
            link = one.with_name("link")
            link.symlink_to(os.path.relpath(blob, pointer.parent))
            pointer.parent.mkdir(parents=True, exist_ok=True)
            link.replace(pointer)
            return
        for staging in (one, other):
            path = download(source.hub, name, source.revision, staging)
            if has_hash(path, *promised):
                _move(path, staging, repository.parent)
                return
            log.warning("'%s' of '%s' arrived damaged.", name, source.hub)
    raise NotVerifiedError(
        f"'{name}' of '{source.hub}' arrived damaged twice: another size or SHA-256 than promised. Nothing of it was "
        f"kept. Something between here and {endpoint()} changes files, or its storage is damaged."
    )


@contextlib.contextmanager
def _staging(own: Path) -> Iterator[tuple[Path, Path]]:
    """Two folders for downloads beside the cache's files; the lock in them tells `zoo clean` that somebody is at work."""
    own.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pull-", dir=own.resolve()) as made, locked(Path(made) / LOCK):
        yield Path(made) / "1", Path(made) / "2"


def _move(path: Path, staging: Path, cache: Path) -> None:
    """Move a file that the client has laid out in one cache into another: its content first, then the link to it."""
    if path.is_symlink():
        content = Path(os.path.normpath(path.parent / path.readlink()))
        target = cache / content.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.resolve().replace(target)
    pointer = cache / path.relative_to(staging)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    path.replace(pointer)
