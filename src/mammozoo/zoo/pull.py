"""Getting a model from the Hub: only listed files, each checked against its hash, into the cache of the Hub's client.

What is there and right is not asked for again. A file that arrives damaged is thrown away and fetched once more. The
client writes beside the place and renames, so a kill leaves no half file where a whole one is looked for, and any number of
processes may pull at once.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mammozoo.errors import NotFoundError, NotVerifiedError, UnreachableError, UsageError
from mammozoo.files import sha256
from mammozoo.zoo.entry import COMMIT, FILE, REPOSITORY, HubSource
from mammozoo.zoo.hub import describe, endpoint, fetch, offline
from mammozoo.zoo.places import Listed, snapshot
from mammozoo.zoo.verify import check_remote, check_usable, kept, verify

log = logging.getLogger(__name__)

#: How a commit of the Hub is named where a model is asked for.
REFERENCE = "hub:ORG/NAME@COMMIT"
_WEIGHTS = ("model.safetensors", "adapter.safetensors")


def pull(listed: Listed) -> Path:
    """The folder of a model, every file of it there and checked; no request where that is so already.

    Raises:
        UnreachableError, AccessError, NotFoundError: as they say.
        NotVerifiedError: the Hub has other files than the zoo promises, or what arrives is damaged, twice.
        FailedError: the disk is full.
    """
    check_usable(listed.entry)
    source = listed.from_hub
    if source is None:
        return verify(listed)
    wrong = [name for name, promised in listed.entry.files.items() if not kept(listed.folder / name, promised)]
    if wrong and offline():
        damaged = [name for name in wrong if (listed.folder / name).is_file()]
        if damaged:
            raise NotVerifiedError(
                f"Model '{listed.entry.name}': '{listed.folder / damaged[0]}' is not the file that the zoo promises, and "
                "HF_HUB_OFFLINE is set. Unset it and pull again."
            )
        raise UnreachableError(
            f"Model '{listed.entry.name}' is not on this machine, and HF_HUB_OFFLINE is set. Unset it, or copy a zoo in (`mammozoo "
            "zoo export`) and name its folder in MAMMOZOO_ZOO."
        )
    if wrong:
        check_remote(listed)
    for name in wrong:
        promised = listed.entry.files[name]
        _settle(source, name, Promise(promised.size, sha256=promised.sha256))
    return listed.folder


@dataclass(frozen=True)
class Promise:
    """What a file must be; `git` is the id under which git knows its content."""

    size: int | None
    sha256: str | None = None
    git: str | None = None

    def kept_by(self, path: Path) -> bool:
        """Whether a file is that."""
        if not path.is_file() or (self.size is not None and path.stat().st_size != self.size):
            return False
        if self.sha256 is not None:
            return sha256(path) == self.sha256
        return self.git is not None and _git_id(path) == self.git


def pull_reference(reference: str) -> Path:
    """The folder of `hub:ORG/NAME@COMMIT`; no request where it is there and right already.

    No zoo promises these files. They are checked against what the Hub itself says about that commit: SHA-256 of large files,
    git's ids of small ones.

    Raises:
        UsageError: that is no such reference, or names no full commit.
        UnreachableError, AccessError, NotFoundError, NotVerifiedError, FailedError: as `pull`.
    """
    source = parse_reference(reference)
    folder = snapshot(source)
    log.warning("No zoo entry vouches for '%s'; its files are checked against the Hub's own hashes.", reference)
    present = _remembered(folder)
    if "config.json" in present and any(name in present for name in _WEIGHTS):
        wrong = [name for name, promise in present.items() if not promise.kept_by(folder / name)]
        if not wrong:
            return folder
        if offline():
            raise NotVerifiedError(
                f"'{folder / wrong[0]}' is damaged, and HF_HUB_OFFLINE is set. Unset it and try again."
            )
    promises = _promised(source)
    for name, promise in promises.items():
        if not promise.kept_by(folder / name):
            _settle(source, name, promise)
    return folder


def parse_reference(reference: str) -> HubSource:
    """`hub:ORG/NAME@COMMIT` in its parts.

    Raises:
        UsageError: it is not of that form. Branches and tags can be moved, so only a full commit id will do.
    """
    repository, _, revision = reference.removeprefix("hub:").partition("@")
    if not reference.startswith("hub:") or not re.match(REPOSITORY, repository) or not re.match(COMMIT, revision):
        raise UsageError(
            f"'{reference}' is not {REFERENCE}, where COMMIT is the full id (40 hexadecimal digits). Tags and branches can be "
            f"moved; {endpoint()}/ORG/NAME/commits/main lists the ids."
        )
    return HubSource(hub=repository, revision=revision)


def _promised(source: HubSource) -> Mapping[str, Promise]:
    """What the Hub says about those files of a commit that a model may have."""
    promises = {
        file.rfilename: Promise(file.size, sha256=file.lfs.sha256) if file.lfs else Promise(file.size, git=file.blob_id)
        for file in describe(source.hub, source.revision).siblings or ()
        if re.match(FILE, file.rfilename)
    }
    if "config.json" not in promises or not any(name in promises for name in _WEIGHTS):
        raise NotFoundError(
            f"'{source.hub}' at {source.revision[:7]} is no model of mammozoo: it needs config.json and model.safetensors."
        )
    return promises


def _remembered(folder: Path) -> Mapping[str, Promise]:
    """What the Hub said about files that are there: the cache names the content of each by its hash."""
    found = {}
    for path in folder.rglob("*"):
        name, blob = path.relative_to(folder).as_posix(), path.resolve().name
        if path.is_symlink() and re.match(FILE, name):
            if re.match(r"^[0-9a-f]{64}$", blob):
                found[name] = Promise(None, sha256=blob)
            elif re.match(r"^[0-9a-f]{40}$", blob):
                found[name] = Promise(None, git=blob)
    return found


def _settle(source: HubSource, name: str, promise: Promise) -> None:
    """Fetch a file until it is what it must be: once, and once more after throwing away what was not."""
    path = snapshot(source) / name
    for _ in range(2):
        _discard(path)
        path = fetch(source.hub, name, source.revision)
        if promise.kept_by(path):
            return
        log.warning("'%s' of '%s' arrived damaged.", name, source.hub)
    _discard(path)
    raise NotVerifiedError(
        f"'{name}' of '{source.hub}' arrived damaged twice: another size or SHA-256 than promised. Nothing of it was kept. "
        f"Something between here and {endpoint()} changes files, or its storage is damaged."
    )


def _discard(path: Path) -> None:
    """Remove a file of the cache, and the content that it links to."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def _git_id(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
