"""The Hugging Face Hub's client, without its long waits and with errors that say what to do.

Behind a firewall that drops packets the client waits for minutes. So we look in the local cache first, then ask one question with
a time limit, and only then download.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mammozoo.errors import AccessError, FailedError, MammozooError, NotFoundError, UnreachableError, UsageError
from mammozoo.files import sha256
from mammozoo.zoo.pins import keep, pin_of

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

T = TypeVar("T")

#: Seconds that the Hub has to answer a question.
PATIENCE = 5.0
PUBLIC = "https://huggingface.co"

# The client asks a server about itself on its first request unless telemetry is off.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Mirrors do not support Xet; uploads to them would fail. The client reads this when it is imported.
if os.environ.get("HF_ENDPOINT", PUBLIC).rstrip("/") != PUBLIC:
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")


def endpoint() -> str:
    """The address of the Hub: `HF_ENDPOINT`, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")


def offline() -> bool:
    """Whether `HF_HUB_OFFLINE` is set."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def check_reachable(path: str = "api/models?limit=1") -> None:
    """Ask the Hub (or the proxy on the way to it) about `path`; any answer will do, and none is an UnreachableError."""
    if offline():
        raise UnreachableError("HF_HUB_OFFLINE is set.")
    from huggingface_hub import get_session

    try:
        _within_patience(lambda: get_session().head(f"{endpoint()}/{path}", timeout=PATIENCE, follow_redirects=False))
    except _network_errors() as error:
        cause = _first_cause(error)
        raise UnreachableError(f"The Hub at {endpoint()} does not answer ({cause}).{_advice(cause)}") from None


def describe(repository: str, revision: str | None = None) -> ModelInfo:
    """The Hub's description of a commit of a model repository (by default the newest).

    `siblings` lists every file with its size, and the SHA-256 of large ones.

    Raises:
        UnreachableError: the Hub does not answer within `PATIENCE` seconds, or `HF_HUB_OFFLINE` is set.
        AccessError, NotFoundError: the repository is private or gated, or has no such commit.
    """
    if offline():
        raise UnreachableError(f"'{repository}' is not on this machine, and HF_HUB_OFFLINE is set.")
    from huggingface_hub import model_info

    with translated(repository, revision):
        return _within_patience(
            lambda: model_info(repository, revision=revision, files_metadata=True, timeout=PATIENCE)
        )


def files_of(info: ModelInfo) -> dict[str, RepoSibling]:
    """The files of a commit, by path."""
    return {file.rfilename: file for file in info.siblings or ()}


def digest(file: RepoSibling) -> str | None:
    """The hash under which the Hub stores a file: SHA-256 (64 digits) of a large one, git's blob id (40) of a small one."""
    return file.lfs.sha256 if file.lfs else file.blob_id


def fetch(repository: str, file: str, revision: str | None = None) -> Path:
    """A file of a model repository: from the cache without any request, or else from the Hub.

    The client checks sizes only; callers that know a hash must check it. Inside of `pins.pinned` the file is one of the commit that
    is pinned.

    Raises:
        UnreachableError, AccessError, NotFoundError: as `describe`.
        NotVerifiedError: its bytes are not those that are pinned.
        FailedError: the disk is full.
    """
    pin = pin_of(repository, file)
    wanted = pin.revision if pin else revision
    path, other = _in_cache(repository, file, wanted), None
    if path is None and pin:  # the same bytes may be there from another commit
        other = _in_cache(repository, file, revision)
        path = other if other and sha256(other) == pin.sha256 else None
    try:
        path = path or download(repository, file, wanted)
    except UnreachableError:
        if other is None:
            raise
        path = other  # `keep` tells that these are other bytes
    return keep(repository, file, path)


def _in_cache(repository: str, file: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repository, file, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def download(repository: str, file: str, revision: str | None = None, cache: Path | None = None) -> Path:
    """A file of a model repository, from the Hub into `cache`, by default the client's own; raises as `fetch`."""
    from huggingface_hub import hf_hub_download

    # About this very file: a Hub can answer one question and not the next.
    check_reachable(f"{repository}/resolve/{revision or 'main'}/{file}")
    with translated(repository, revision, file):
        return Path(hf_hub_download(repository, file, revision=revision, cache_dir=cache, library_name="mammozoo"))


def _within_patience(question: Callable[[], T]) -> T:
    """The answer to a question to the Hub, or UnreachableError.

    A thread limits the whole: the timeouts of the client do not cover looking up the name or a server that sends byte after byte.
    It is a daemon, so that one that still waits does not delay the end of the program.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(PATIENCE)
    except TimeoutError:
        raise UnreachableError(
            f"The Hub at {endpoint()} does not answer (nothing within {PATIENCE:g} seconds). Behind a firewall that drops "
            "packets, set HF_HUB_OFFLINE=1."
        ) from None


@contextlib.contextmanager
def translated(repository: str, revision: str | None = None, file: str | None = None) -> Iterator[None]:
    """Turn every error of the client into the one of ours that tells the user what to do."""
    try:
        yield
    except MammozooError:
        raise
    except Exception as error:
        ours = _translation(error, repository, revision, f"'{file}' of '{repository}'" if file else f"'{repository}'")
        if ours is None:
            raise
        raise ours from None


def _translation(error: Exception, repository: str, revision: str | None, what: str) -> MammozooError | None:
    """Our error for one of the client's; None for any other."""
    from huggingface_hub import errors as hub
    from huggingface_hub import get_token
    from huggingface_hub.constants import HF_HUB_CACHE

    place, log_in = f"The Hub at {endpoint()}", "(`hf auth login`, or HF_TOKEN)"
    cause, number = _first_cause(error), getattr(error, "errno", None)
    status = getattr(getattr(error, "response", None), "status_code", None)
    match error:
        case hub.GatedRepoError():  # a subclass of the next one
            page = f"{endpoint()}/{repository}"
            return AccessError(f"'{repository}' asks for access first: see {page}, then log in {log_in}.")
        case hub.RepositoryNotFoundError() if get_token():
            return NotFoundError(f"There is no model '{repository}' at {endpoint()} that your token may see.")
        case hub.RepositoryNotFoundError():
            nothing = f"There is no public model '{repository}' at {endpoint()}"
            return AccessError(f"{nothing}. If it is private, log in first {log_in}.")
        case hub.RevisionNotFoundError():
            why = "its history was rewritten, or it was withdrawn"
            return NotFoundError(f"'{repository}' has no commit '{revision}' at {endpoint()}: {why}.")
        case hub.RemoteEntryNotFoundError():
            return NotFoundError(f"The Hub has no file {what}.")
        case hub.HfHubHTTPError() if status == 401:
            token = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "that `hf auth login` stored"
            remedy = "Renew it, or remove it: public models need none."
            return AccessError(f"{place} refuses the token {token} (401) and with it {what}. {remedy}")
        case hub.HfHubHTTPError() if status == 403:
            return AccessError(f"{place} denies access to {what} (403).")
        case hub.HfHubHTTPError():
            return UnreachableError(f"{place} did not give {what}: it answered {status or 'nothing'}. Try later.")
        case _ if isinstance(error, _network_errors()):  # or one of the disk, by its number
            if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                return FailedError(f"No space left for {what} in '{HF_HUB_CACHE}'. Free some, or move it with HF_HOME.")
            if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
                return AccessError(f"Cannot write '{HF_HUB_CACHE}' for {what}: {cause}. Move it with HF_HOME.")
            return UnreachableError(f"{place} did not give {what}: {cause}.{_advice(cause)}")
        case RuntimeError():  # the client wraps every failure of a large upload in one
            return UnreachableError(f"The transfer of {what} failed: {cause}. Try again.")
        case ValueError():
            return UsageError(f"The Hub's client refuses {what}, or an answer about it is not understood: {cause}.")
    return None


def _first_cause(error: BaseException) -> str:
    """The message of the first error in a chain; the client wraps errors several times."""
    while inner := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = inner
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _advice(cause: str) -> str:
    if "certificate" in cause.lower():
        return " Behind a proxy that inspects TLS, SSL_CERT_FILE must name its certificate (REQUESTS_CA_BUNDLE is not read)."
    return ""


def _network_errors() -> tuple[type[Exception], ...]:
    """OSError and the errors of the client's HTTP library; which library that is depends on the client's version."""
    from huggingface_hub import get_session

    library = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    return (OSError, library.HTTPError, library.InvalidURL)
