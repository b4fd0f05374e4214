"""To the Hub: one commit on top of the one that was looked at, read back and compared, then a tag.

Whatever stops it on the way, the repository is as it was, or has the whole commit; saying the same again goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo.errors import (
    ConflictError,
    NotFoundError,
    NotVerifiedError,
    RefusedToPublishError,
    UnreachableError,
    UsageError,
)
from mammozoo.files import sha256
from mammozoo.zoo import hub
from mammozoo.zoo.staging import Staged

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

#: Seconds that the Hub has for each step of an upload, a piece of a file at a time.
PATIENCE = 60.0


@dataclass(frozen=True)
class Pushed:
    """Where it is: the commit, its tag, and whether any of it was new."""

    revision: str
    tag: str
    new: bool
    private: bool


def push(staged: Staged, *, private: bool = True) -> Pushed:
    """Publish what was staged, in a private repository or, if `private` is false, one that everybody sees.

    Nothing is sent if the Hub has it already.

    Raises:
        AccessError: no token, or no right to write there.
        ConflictError: somebody else published meanwhile, or the version is there with other content; nothing was changed.
        RefusedToPublishError: the repository is public, and nobody said that this should be.
        NotVerifiedError: the Hub gives back other hashes than were sent; there is no tag then.
        UnreachableError: the Hub does not answer, or failed on the way.
    """
    repository, tag = staged.publication.repository, f"v{staged.publication.version}"
    if hub.offline():
        raise UnreachableError("HF_HUB_OFFLINE is set, so nothing can be published.")
    api = _client()
    with _translated(repository):
        info = _head(api, repository, private)
        if private and not info.private:
            raise RefusedToPublishError(
                f"'{repository}' is public and would show the model to everybody. Say --public if that is meant; nothing was sent."
            )
        tagged = _tags(api, repository).get(tag)
        if tagged is not None:
            if _differences(staged, hub.describe(repository, tagged)):
                raise ConflictError(
                    f"'{repository}' has a version {staged.publication.version} already, with other content; nothing was changed. "
                    "A version never changes: choose another --version."
                )
            return Pushed(tagged, tag, False, bool(info.private))
        revision = str(info.sha)
        if _differences(staged, info) or _surplus(staged, info):
            revision = _commit(api, staged, info)
        if problems := _differences(staged, hub.describe(repository, revision)):
            raise NotVerifiedError(
                f"'{repository}' gives back another {problems[0]} than was sent (commit {revision}). It has no tag, and no zoo "
                "should name it. Push again; if that does not help, delete the repository."
            )
        with _lost(
            409, f"somebody else has given '{repository}' the tag {tag} meanwhile; the commit {revision} has none"
        ):
            api.create_tag(repository, tag=tag, revision=revision)
    return Pushed(revision, tag, True, bool(info.private))


def _client() -> HfApi:
    """The Hub's client, which does not wait for ever."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import _http

    factory, set_factory = (getattr(_http, name, None) for name in ("default_client_factory", "set_client_factory"))
    if factory and set_factory:  # which versions on another HTTP library have not

        def patient() -> Any:
            client = factory()
            client.timeout = PATIENCE
            return client

        set_factory(patient)
    return HfApi(endpoint=hub.endpoint(), library_name="mammozoo")


def _head(api: HfApi, repository: str, private: bool) -> ModelInfo:
    """What is in the repository now; it is made where there is none."""
    with contextlib.suppress(NotFoundError):
        return hub.describe(repository)
    # Not with exist_ok: the client then fails on a Hub that is not the public one.
    with _lost(409, f"somebody else has just made '{repository}'"):
        api.create_repo(repository, private=private)
    return hub.describe(repository)


def _tags(api: HfApi, repository: str) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(repository).tags}


def _differences(staged: Staged, info: ModelInfo) -> list[str]:
    """The staged files that a commit has not, or not with these bytes."""
    held = {file.rfilename: file for file in info.siblings or []}
    return [
        name
        for name, path in staged.files.items()
        if (there := held.get(name)) is None
        or (there.lfs.sha256 if there.lfs else there.blob_id) != (sha256(path) if there.lfs else _git_oid(path))
    ]


def _surplus(staged: Staged, info: ModelInfo) -> list[str]:
    """Files of an earlier version that this one has not."""
    return [
        f.rfilename for f in info.siblings or [] if f.rfilename != ".gitattributes" and f.rfilename not in staged.files
    ]


def _git_oid(path: Path) -> str:
    """git's name of a small file: SHA-1 of its size and its bytes."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _commit(api: HfApi, staged: Staged, info: ModelInfo) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repository = staged.publication.repository
    operations: list[Any] = [CommitOperationDelete(name) for name in _surplus(staged, info)]
    operations += [CommitOperationAdd(name, str(path)) for name, path in staged.files.items()]
    with _lost(412, f"somebody else has published to '{repository}' meanwhile"):
        made = api.create_commit(
            repository,
            operations,
            commit_message=f"{staged.publication.name} {staged.publication.version}",
            parent_commit=info.sha,
        )
    return str(made.oid)


@contextlib.contextmanager
def _lost(status: int, what: str) -> Iterator[None]:
    """A status that means a lost race becomes ConflictError."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) != status:
            raise
        raise ConflictError(
            f"{what[0].upper()}{what[1:]}; nothing of theirs was changed. Look at it, then push again."
        ) from None


@contextlib.contextmanager
def _translated(repository: str) -> Iterator[None]:
    """`hub.translated`, and what only an upload can raise."""
    from huggingface_hub.errors import HFValidationError

    try:
        with hub.translated(repository):
            yield
    except HFValidationError as error:
        raise UsageError(f"'{repository}' is no name of a repository: {error}.") from None
    except RuntimeError as error:  # in which the client wraps whatever went wrong with a large file
        cause = error.__cause__ or error
        raise UnreachableError(
            f"The upload to '{repository}' failed, and nothing was changed there: {' '.join(str(cause).split())}. Push again."
        ) from None
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"The Hub does not take the card or an answer of it is not understood: {error}.") from None
