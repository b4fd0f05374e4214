"""What can go wrong, as one family of exceptions; each knows the exit code of the command that meets it.

A message says what, where, why and what to do, in one paragraph. The command line prints it without a
traceback; a notebook sees an ordinary exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class MammozooError(Exception):
    """Anything that mammozoo reports about its input or its surroundings, as opposed to a bug."""

    exit_code = 1


class FailedError(MammozooError):
    """It ran and failed: NaN loss, no memory, a full disk."""


class UsageError(MammozooError, ValueError):
    """Flags, recipe or input refused."""

    exit_code = 2


class NotFoundError(MammozooError, LookupError):
    """No such name, file or folder."""

    exit_code = 3


class AccessError(MammozooError):
    """The file system or a server does not let us."""

    exit_code = 4


class UnreachableError(MammozooError):
    """A server did not answer, or we are told to stay offline."""

    exit_code = 5


class NotVerifiedError(MammozooError):
    """The bytes are not those that were promised."""

    exit_code = 6


class IncompatibleError(MammozooError):
    """Made for another version, plugin or input size."""

    exit_code = 7


class RegistryError(MammozooError):
    """A `zoo.yaml` is not valid."""

    exit_code = 8


class ConflictError(MammozooError):
    """Something else stands where we would write."""

    exit_code = 9


class RefusedToPublishError(MammozooError):
    """It must not leave this machine."""

    exit_code = 10


@dataclass(frozen=True)
class Scene:
    """Where a bug showed itself.

    Attributes:
        doing: what was done, as in "training fold-1, epoch 3".
        device: where.
        run: the folder of a run that can be resumed, and whose log.txt holds the traceback.
    """

    doing: str = ""
    device: str = ""
    run: Path | None = None


def set_scene(error: BaseException, **known: Any) -> None:
    """Note on an exception on its way up, in fields of `Scene`, what its traceback does not tell."""
    error.__dict__["mammozoo_scene"] = replace(scene_of(error), **known)


def scene_of(error: BaseException) -> Scene:
    """What was noted on an exception."""
    found = error.__dict__.get("mammozoo_scene")
    return found if isinstance(found, Scene) else Scene()


#: How Python, torch's allocators, CUDA and its libraries say it.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def memory_error(error: BaseException, batch: int | None = None) -> FailedError | None:
    """The error to report for one that says that memory ran out, the processor's or a card's; None for any other.

    Args:
        batch: images in a batch, where that is what has to become smaller.
    """
    full = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    if not (full or isinstance(error, MemoryError)):
        return None
    if batch is not None:
        return FailedError(f"Out of memory at batch {batch}. Try --batch {max(2, batch // 2)}.")
    first = str(error).strip().partition("\n")[0].rstrip(".")
    return FailedError(
        f"Out of memory{f' ({first})' if first else ''}. Give a smaller --batch, or --device cpu, where the command takes them."
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'drs'?` for the closest of `known`, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{matches[0]}'?" if matches else ""
