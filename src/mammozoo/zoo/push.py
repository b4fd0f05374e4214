"""Publish to the Hub: one commit on top of the current one, read back and compared, then a tag.

Wherever it stops, the repository is unchanged or has the whole commit; the same push again goes on from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mammozoo.errors import ConflictError, NotFoundError, NotVerifiedError, RefusedToPublishError, UnreachableError
from mammozoo.zoo import hub
from mammozoo.zoo.staging import Staged, taken
from mammozoo.zoo.verify import has_hash

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

#: Seconds that the Hub has for each step of an upload, a piece of a file at a time.
PATIENCE = 60.0


@dataclass(frozen=True)
class Pushed:
    """The commit of a published model, its tag, and whether the push added anything."""

    revision: str
    tag: str
    new: bool
    private: bool


def push(staged: Staged, *, private: bool = True) -> Pushed:
    """Publish a staged model to a private repository, or to a public one; nothing is sent if the Hub has it already.

    Raises:
        AccessError: no token, or no right to write there.
        ConflictError: somebody else published meanwhile, or the version exists with other content; nothing was changed.
        RefusedToPublishError: the repository is public, and `private` is true.
        NotVerifiedError: the Hub returns other hashes than were sent; there is no tag then.
        UnreachableError: the Hub does not answer, or failed on the way.
    """
    repository, version = staged.publication.repository, staged.publication.version
    tag = f"v{version}"
    if hub.offline():
        raise UnreachableError("HF_HUB_OFFLINE is set, so nothing can be published.")
    api = _client()
    with hub.translated(repository):
        info = _head(api, repository, private)
        if private and not info.private:
            raise RefusedToPublishError(
                f"'{repository}' is public and would show the model to everybody. Give --public if you mean that; nothing was sent."
            )
        tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repository).tags}
        if tag in tags:
            if _differences(staged, hub.describe(repository, tags[tag])):
                raise taken(repository, staged.publication)
            return Pushed(tags[tag], tag, False, bool(info.private))
        revision = str(info.sha)
        if _differences(staged, info) or _surplus(staged, info):
            revision = _commit(api, staged, info)
        if problems := _differences(staged, hub.describe(repository, revision)):
            raise NotVerifiedError(
                f"'{repository}' returns another {problems[0]} than was sent (commit {revision}). It has no tag, and no zoo should "
                "name it. Push again; if that does not help, delete the repository."
            )
        theirs = f"Somebody else has given '{repository}' the tag {tag} meanwhile; the commit {revision} has none"
        with _lost_race(409, theirs):
            api.create_tag(repository, tag=tag, revision=revision)
    return Pushed(revision, tag, True, bool(info.private))


def _client() -> HfApi:
    """The Hub's client with a time limit; its own has none."""
    from huggingface_hub import HfApi, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def factory() -> Any:
        client = default_client_factory()
        client.timeout = PATIENCE
        return client

    set_client_factory(factory)
    return HfApi(endpoint=hub.endpoint(), library_name="mammozoo")


def _head(api: HfApi, repository: str, private: bool) -> ModelInfo:
    """The newest commit of the repository, which is created if there is none."""
    with contextlib.suppress(NotFoundError):
        return hub.describe(repository)
    # Not with exist_ok: the client then fails on a Hub that is not the public one.
    with _lost_race(409, f"Somebody else has just made '{repository}'"):
        api.create_repo(repository, private=private)
    return hub.describe(repository)


def _differences(staged: Staged, info: ModelInfo) -> list[str]:
    """The staged files that a commit does not have with the same bytes."""
    remote, own = hub.files_of(info), staged.files
    return [name for name in own if name not in remote or not has_hash(own[name], hub.digest(remote[name]))]


def _surplus(staged: Staged, info: ModelInfo) -> list[str]:
    """Files of an earlier version that this one does not have."""
    return [name for name in hub.files_of(info) if name != ".gitattributes" and name not in staged.files]


def _commit(api: HfApi, staged: Staged, info: ModelInfo) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    about = staged.publication
    operations: list[Any] = [CommitOperationDelete(name) for name in _surplus(staged, info)]
    operations += [CommitOperationAdd(name, str(path)) for name, path in staged.files.items()]
    with _lost_race(412, f"Somebody else has published to '{about.repository}' meanwhile"):
        commit = api.create_commit(
            about.repository, operations, commit_message=f"{about.name} {about.version}", parent_commit=info.sha
        )
    return str(commit.oid)


@contextlib.contextmanager
def _lost_race(status: int, what: str) -> Iterator[None]:
    """Turn an HTTP status that means a lost race into ConflictError."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) != status:
            raise
        raise ConflictError(f"{what}; nothing of theirs was changed. Look at it, then push again.") from None
