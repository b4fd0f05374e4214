"""Publish to the Hub: one commit on top of the current one, read back and compared, then a tag.

Wherever it stops, the repository is unchanged or has the whole commit; the same push again goes on from there. What others have put
into the repository stays.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from mammozoo.errors import (
    ConflictError,
    IncompatibleError,
    NotFoundError,
    NotVerifiedError,
    RefusedToPublishError,
    UnreachableError,
)
from mammozoo.models.config import read_content
from mammozoo.zoo import hub
from mammozoo.zoo.staging import Staged, taken
from mammozoo.zoo.verify import has_hash

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

#: Seconds that the Hub has for each step of an upload, a piece of a file at a time.
PATIENCE = 60.0
#: The files that a push sends.
_SENT = r"README\.md|config\.json|(?:model|adapter)\.safetensors|figures/[a-z0-9_-]+\.png"


@dataclass(frozen=True)
class Pushed:
    """The commit of a published model, its tag, and whether the push added anything."""

    revision: str
    tag: str
    new: bool
    private: bool


def push(
    staged: Staged,
    *,
    private: bool = True,
    replace: bool = False,
    agreed: Callable[[list[str]], bool] = lambda lost: True,
) -> Pushed | None:
    """Publish a staged model to a private repository, or to a public one; nothing is sent if the Hub has it already.

    Args:
        replace: also to a repository that holds something else; all of that goes.
        agreed: is given the files that go (those of an earlier version that this one does not have), and those of other people
            that are replaced, before anything is written. If it says no, nothing is, and the result is None.

    Raises:
        AccessError: no token, or no right to write there.
        ConflictError: somebody else published meanwhile, the version exists with other content, or the repository holds
            something else; nothing was changed.
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
        info = _head(repository)
        if info is not None and private and not info.private:
            raise RefusedToPublishError(
                f"'{repository}' is public so everybody could see the model. If you want that, add --public. Nothing was sent."
            )
        ours = info is None or _is_ours(info, repository)
        if not ours and not replace:
            raise ConflictError(
                f"'{repository}' holds something other than a mammozoo model; nothing was changed. Choose another repository. "
                "With --replace all that it holds is removed first."
            )
        tags = {} if info is None else {ref.name: ref.target_commit for ref in api.list_repo_refs(repository).tags}
        if info is not None and tag in tags:
            if _differences(staged, hub.describe(repository, tags[tag])):
                raise taken(repository, staged.publication)
            return Pushed(tags[tag], tag, False, bool(info.private))
        deleted, edited = _lost(staged, info, tags, ours) if info is not None else ([], [])
        if not agreed([*deleted, *(f"{name} (replaced)" for name in edited)]):
            return None
        info = info or _created(api, repository, private)
        revision = str(info.sha)
        if deleted or _differences(staged, info):
            revision = _commit(api, staged, info, deleted)
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


def _head(repository: str) -> ModelInfo | None:
    """The newest commit of the repository; None if there is no such repository."""
    try:
        return hub.describe(repository)
    except NotFoundError:
        return None


def _created(api: HfApi, repository: str, private: bool) -> ModelInfo:
    # Not with exist_ok: the client then fails on a Hub that is not the public one.
    with _lost_race(409, f"Somebody else has just made '{repository}'"):
        api.create_repo(repository, private=private)
    return hub.describe(repository)


def _differences(staged: Staged, info: ModelInfo) -> list[str]:
    """The staged files that a commit does not have with the same bytes."""
    remote, own = hub.files_of(info), staged.files
    return [name for name in own if name not in remote or not has_hash(own[name], hub.digest(remote[name]))]


def _is_ours(info: ModelInfo, repository: str) -> bool:
    """Whether a commit holds a model of mammozoo, or nothing yet."""
    files = hub.files_of(info).keys() - {".gitattributes"}
    if "config.json" not in files:
        return not files
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(IncompatibleError, NotFoundError):
        read_content(hub.download(repository, "config.json", info.sha, Path(folder)).parent)
        return True
    return False


def _lost(staged: Staged, info: ModelInfo, tags: Mapping[str, str], ours: bool) -> tuple[list[str], list[str]]:
    """The files that go, and those that are replaced although somebody edited them since the latest version.

    Of a repository of ours only what `push` has sent goes: it is in the latest version, and as it was there.
    """
    now, latest = hub.files_of(info), max(tags, key=_order, default=None)
    if not ours:
        theirs = now.keys() - {".gitattributes"}
        return sorted(theirs - staged.files.keys()), sorted(theirs & staged.files.keys())
    if latest is None:
        return [], []
    before = hub.files_of(hub.describe(staged.publication.repository, tags[latest]))
    same = {name for name in now.keys() & before.keys() if hub.digest(now[name]) == hub.digest(before[name])}
    deleted = [name for name in now if name in same and name not in staged.files and re.fullmatch(_SENT, name)]
    return deleted, [name for name in now.keys() & before.keys() if name in staged.files and name not in same]


def _order(tag: str) -> tuple[bool, Version]:
    """Tags of versions come after all others, in the order of the versions."""
    try:
        return True, Version(tag.removeprefix("v"))
    except InvalidVersion:
        return False, Version("0")


def _commit(api: HfApi, staged: Staged, info: ModelInfo, deleted: list[str]) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    about = staged.publication
    operations: list[Any] = [CommitOperationDelete(name) for name in deleted]
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
