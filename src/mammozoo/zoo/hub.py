"""One file from the Hugging Face Hub, without the long waits of its client.

The client can hang for minutes behind a firewall that drops packets. So: the local cache first, then a short
question of our own whether the Hub answers, and only then the client.
"""

from __future__ import annotations

import http.client
import importlib
import importlib.util
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from queue import Empty, SimpleQueue

from mammozoo.errors import AccessError, NotFoundError, UnreachableError

#: Seconds that the Hub has to answer.
PATIENCE = 4.0

# The client asks a server about itself on its first request unless telemetry is off.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def endpoint() -> str:
    """Where the Hub is: `HF_ENDPOINT`, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def offline() -> bool:
    """Whether the user told us to stay offline."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def check_reachable(path: str = "api/models?limit=1") -> None:
    """Raise UnreachableError unless the Hub (or the proxy on the way to it) answers about `path` within `PATIENCE` seconds."""
    if offline():
        raise UnreachableError("HF_HUB_OFFLINE is set.")
    answer: SimpleQueue[object] = SimpleQueue()
    # In a thread, for only so the limit holds for the whole: finding the name, trying each of its addresses, a slow answer.
    threading.Thread(target=lambda: answer.put(_ask(path)), daemon=True).start()
    try:
        problem = answer.get(timeout=PATIENCE)
    except Empty:
        problem = f"nothing within {PATIENCE:g} seconds"
    if problem is not None:
        raise UnreachableError(f"The Hub at {endpoint()} does not answer ({problem}).")


def _ask(path: str) -> object:
    """None when the Hub answers, whatever it says; else why it does not."""
    try:
        question = urllib.request.Request(f"{endpoint()}/{path}", method="HEAD")
        urllib.request.urlopen(question, timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return getattr(error, "reason", None) or error
    return None


def fetch(repository: str, file: str) -> Path:
    """A file of a model repository: from the cache, without any request, or else from the Hub.

    Raises:
        UnreachableError, AccessError, NotFoundError: as they say.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    check_reachable(
        f"{repository}/resolve/main/{file}"
    )  # the very file: a Hub can answer one question and not the next
    try:
        return Path(hf_hub_download(repository, file))
    except hub.GatedRepoError:
        raise AccessError(f"'{repository}' asks for access first; see {endpoint()}/{repository}.") from None
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError, hub.RemoteEntryNotFoundError):
        raise NotFoundError(f"The Hub has no file '{file}' in '{repository}'.") from None
    except (hub.HfHubHTTPError, hub.LocalEntryNotFoundError, _transport_error(), OSError) as error:
        cause = error.__cause__ or error
        raise UnreachableError(f"The Hub did not give '{file}' of '{repository}': {cause}.") from None


def _transport_error() -> type[Exception]:
    """The base of what the client's HTTP library raises; which library that is depends on the client's version."""
    for name in ("httpx2", "httpx"):
        if importlib.util.find_spec(name):
            error: type[Exception] = importlib.import_module(name).HTTPError
            return error
    return OSError
