"""Files from the Hugging Face Hub, without the long waits of its client, and with errors that say what to do.

The client can hang for minutes behind a firewall that drops packets. So: the local cache first, then a short
question of our own whether the Hub answers, and only then the client.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import importlib
import importlib.util
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from mammozoo.errors import AccessError, FailedError, MammozooError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

T = TypeVar("T")

#: Seconds that the Hub has to answer.
PATIENCE = 5.0
PUBLIC = "https://huggingface.co"

# The client asks a server about itself on its first request unless telemetry is off.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Mirrors speak the plain protocol; with the other one uploads to them fail. Read when the client is imported.
if os.environ.get("HF_ENDPOINT", PUBLIC).rstrip("/") != PUBLIC:
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")


def endpoint() -> str:
    """Where the Hub is: `HF_ENDPOINT`, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")


def offline() -> bool:
    """Whether the user told us to stay offline."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def check_reachable(path: str = "api/models?limit=1") -> None:
    """Raise UnreachableError unless the Hub (or the proxy on the way to it) answers about `path` within `PATIENCE` seconds."""
    if offline():
        raise UnreachableError("HF_HUB_OFFLINE is set.")
    problem = _within(PATIENCE, lambda: _ask(path))
    if problem is not None:
        raise UnreachableError(f"The Hub at {endpoint()} does not answer ({problem}).{_advice(str(problem))}")


def describe(repository: str, revision: str | None = None) -> ModelInfo:
    """What the Hub says about a commit of a model repository (its newest one by default), within `PATIENCE` seconds.

    `siblings` has every file with its size, and the SHA-256 of the large ones.

    Raises:
        UnreachableError, AccessError, NotFoundError: as they say.
    """
    if offline():
        raise UnreachableError(f"'{repository}' is not on this machine, and HF_HUB_OFFLINE is set.")
    from huggingface_hub import model_info

    with translated(repository, revision):
        return _within(
            PATIENCE, lambda: model_info(repository, revision=revision, files_metadata=True, timeout=PATIENCE)
        )


def _within(seconds: float, question: Callable[[], T]) -> T:
    """The answer to a question to the Hub, or UnreachableError.

    In a thread, for only so the limit holds for the whole: finding the name, trying each of its addresses, a slow answer.
    """
    answer: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put((question(), None))
        except Exception as error:
            answer.put((None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        result, error = answer.get(timeout=seconds)
    except Empty:
        raise UnreachableError(
            f"The Hub at {endpoint()} does not answer (nothing within {seconds:g} seconds). Where a firewall drops what is "
            "sent, set HF_HUB_OFFLINE=1."
        ) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # None only where the question's answer is


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it is an answer, and behind it the whole file would begin to come."""

    def redirect_request(self, *_: object) -> None:
        return None


def _ask(path: str) -> object:
    """None when the Hub answers, whatever it says; else why it does not."""
    try:
        question = urllib.request.Request(f"{endpoint()}/{path}", method="HEAD")
        urllib.request.build_opener(_Stay).open(question, timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return getattr(error, "reason", None) or error
    return None


def fetch(repository: str, file: str, revision: str | None = None) -> Path:
    """A file of a model repository: from the cache, without any request, or else from the Hub.

    The client checks sizes only; whoever knows a hash must check it.

    Raises:
        UnreachableError, AccessError, NotFoundError: as they say.
        FailedError: the disk is full.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, file, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    # the very file: a Hub can answer one question and not the next
    check_reachable(f"{repository}/resolve/{revision or 'main'}/{file}")
    with translated(repository, revision, file):
        return Path(hf_hub_download(repository, file, revision=revision, library_name="mammozoo"))


@contextlib.contextmanager
def translated(repository: str, revision: str | None = None, file: str | None = None) -> Iterator[None]:
    """Whatever the client raises inside becomes the error of ours that says what it means for its user."""
    from huggingface_hub import errors as hub

    what = f"'{file}' of '{repository}'" if file else f"'{repository}'"
    try:
        yield
    except hub.GatedRepoError:  # before the next one, of which it is a kind
        raise AccessError(
            f"'{repository}' asks for access first: see {endpoint()}/{repository}, then log in (`hf auth login`, or HF_TOKEN)."
        ) from None
    except hub.RepositoryNotFoundError:
        raise _no_repository(repository) from None
    except hub.RevisionNotFoundError:
        raise NotFoundError(
            f"'{repository}' has no commit '{revision}' at {endpoint()}: its history was rewritten, or it was withdrawn."
        ) from None
    except hub.RemoteEntryNotFoundError:
        raise NotFoundError(f"The Hub has no file {what}.") from None
    except hub.HfHubHTTPError as error:
        raise _refused(error, what) from None
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, _transport_error()) as error:
        cause = _first_cause(error)
        raise UnreachableError(f"The Hub at {endpoint()} did not give {what}: {cause}.{_advice(cause)}") from None
    except OSError as error:
        raise _of_the_disk(error, what) from None


def _no_repository(repository: str) -> MammozooError:
    from huggingface_hub import get_token

    if get_token():
        return NotFoundError(f"There is no model '{repository}' at {endpoint()} that your token may see.")
    return AccessError(
        f"There is no public model '{repository}' at {endpoint()}. If it is private, log in first (`hf auth login`, or HF_TOKEN)."
    )


def _refused(error: Exception, what: str) -> MammozooError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status == 401:
        token = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "that `hf auth login` stored"
        return AccessError(
            f"The Hub at {endpoint()} refuses the token {token} (401) and with it {what}. Renew it, or take it away: public "
            "models need none."
        )
    if status == 403:
        return AccessError(f"The Hub at {endpoint()} does not let you at {what} (403).")
    return UnreachableError(
        f"The Hub at {endpoint()} did not give {what}: it answered {status or 'nothing'}. Try later."
    )


def _of_the_disk(error: OSError, what: str) -> MammozooError:
    """What an OSError of the client means: of the disk where its number says so, else of the network."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return FailedError(f"No space left for {what} in '{HF_HUB_CACHE}'. Free some, or move it with HF_HOME.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return AccessError(f"Cannot write '{HF_HUB_CACHE}' for {what}: {error.strerror}. Move it with HF_HOME.")
    return UnreachableError(f"The Hub at {endpoint()} did not give {what}: {_first_cause(error)}.")


def _first_cause(error: BaseException) -> str:
    """What it began with; the client wraps errors several times."""
    while inner := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = inner
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__


def _advice(cause: str) -> str:
    if "certificate" in cause.lower():
        return " Behind a proxy that inspects TLS, SSL_CERT_FILE must name its certificate (REQUESTS_CA_BUNDLE is not read)."
    return ""


def _transport_error() -> type[Exception]:
    """The base of what the client's HTTP library raises; which library that is depends on the client's version."""
    for name in ("httpx2", "httpx"):
        if importlib.util.find_spec(name):
            error: type[Exception] = importlib.import_module(name).HTTPError
            return error
    return OSError
