"""Which files of the Hub a training took under a name that can be moved, so that the next one gets the same bytes or none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mammozoo.errors import NotVerifiedError
from mammozoo.files import promise, sha256
from mammozoo.zoo.entry import COMMIT, REPOSITORY, Part, Sha256


class Pin(Part):
    """A file of a model repository, in one of its commits, and what it holds."""

    repository: Annotated[str, Field(pattern=REPOSITORY)]
    file: str
    revision: Annotated[str, Field(pattern=COMMIT)]
    sha256: Sha256


_known = ContextVar[tuple[Pin, ...]]("known", default=())
_used = ContextVar[list[Pin] | None]("used", default=None)


@contextlib.contextmanager
def pinned(pins: Iterable[Pin]) -> Iterator[list[Pin]]:
    """Inside, `hub.fetch` keeps to these pins, and adds one to the list for each file that it gives."""
    used: list[Pin] = []
    tokens = _known.set(tuple(pins)), _used.set(used)
    try:
        yield used
    finally:
        _known.reset(tokens[0])
        _used.reset(tokens[1])


def pin_of(repository: str, file: str) -> Pin | None:
    """The pin in force for a file."""
    return next((pin for pin in _known.get() if (pin.repository, pin.file) == (repository, file)), None)


def keep(repository: str, file: str, path: Path) -> Path:
    """`path`, a file in the client's cache, once its bytes are pinned; outside of `pinned` it is given back as it is.

    Raises NotVerifiedError if they are not those that were pinned, or not those that the Hub sent.
    """
    if (used := _used.get()) is None:
        return path
    digest, pin = sha256(path), pin_of(repository, file)
    blob = path.readlink().name if path.is_symlink() else ""  # the Hub's own hash: SHA-256 of a large file
    if len(blob) == 64 and digest != blob:
        what = f"'{file}' of '{repository}' was damaged since it was sent"
        raise NotVerifiedError(f"{what}. Remove '{path.resolve()}' and try again.")
    if pin is not None and digest != pin.sha256:
        raise NotVerifiedError(
            f"'{file}' of '{repository}' has other bytes than those that the run began with, of commit {pin.revision[:7]}. "
            "Get them back (unset HF_HUB_OFFLINE if it is set), or start a new run."
        )
    promise(path, digest)
    used.append(Pin(repository=repository, file=file, revision=commit_of(path), sha256=digest))
    return path


def commit_of(path: Path) -> str:
    """The commit in whose folder of the client's cache a file lies."""
    return path.as_posix().rpartition("/snapshots/")[2].partition("/")[0]
