"""The errors that mammozoo reports; each class has an exit code.

A message says what, where, why and what to do, in one paragraph. The command line prints it without a
traceback; a notebook gets an ordinary exception.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pydantic
    from pydantic_core import ErrorDetails


class MammozooError(Exception):
    """An error in the input or the environment, as opposed to a bug. Its message is one paragraph, whatever names it quotes."""

    exit_code = 1

    def __str__(self) -> str:
        """One paragraph, whatever a library said; a second argument, such as a tree of files, keeps its lines."""
        message, *listing = self.args or ("",)
        return " ".join(str(message).splitlines()) + "".join(map(str, listing))


class FailedError(MammozooError):
    """A failure while running: NaN loss, no memory, a full disk."""


class UsageError(MammozooError, ValueError):
    """Flags, recipe or input refused."""

    exit_code = 2


class NotFoundError(MammozooError, LookupError):
    """No such name, file or folder."""

    exit_code = 3


class AccessError(MammozooError):
    """The file system or a server denies access."""

    exit_code = 4


class UnreachableError(MammozooError):
    """A server does not answer, or offline mode is set."""

    exit_code = 5


class NotVerifiedError(MammozooError):
    """The bytes differ from those that a hash promises."""

    exit_code = 6


class IncompatibleError(MammozooError):
    """Made for another version, plugin or input size."""

    exit_code = 7


class RegistryError(MammozooError):
    """A `zoo.yaml` is not valid."""

    exit_code = 8


class ConflictError(MammozooError):
    """Something else exists at the place to write to."""

    exit_code = 9


class RefusedToPublishError(MammozooError):
    """The files must not leave this machine."""

    exit_code = 10


@dataclass(frozen=True)
class Scene:
    """Where a bug occurred."""

    doing: str = ""  # the work, such as "training fold-1, epoch 3"
    device: str = ""  # of the work
    run: Path | None = None  # the folder of a run that can be resumed, and whose log.txt holds the traceback


def set_scene(error: BaseException, **known: Any) -> None:
    """Attach to an exception, in fields of `Scene`, what its traceback does not show."""
    error.__dict__["mammozoo_scene"] = replace(scene_of(error), **known)


def scene_of(error: BaseException) -> Scene:
    """The scene attached to an exception."""
    found = error.__dict__.get("mammozoo_scene")
    return found if isinstance(found, Scene) else Scene()


#: Phrases of Python, torch's allocators, CUDA and its libraries.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def memory_error(error: BaseException, batch: int | None = None) -> FailedError | None:
    """The error to report if memory ran out, of the processor or of a card; else None. `batch`: images in one, if it can shrink."""
    full = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    if not (full or isinstance(error, MemoryError)):
        return None
    if batch is not None:
        return FailedError(f"Out of memory at batch {batch}. Try --batch {max(2, batch // 2)}.")
    first = str(error).strip().partition("\n")[0].rstrip(".")
    return FailedError(
        f"Out of memory{f' ({first})' if first else ''}. Give a smaller --batch, or --device cpu, where the command takes them."
    )


def reason(error: Exception) -> str:
    """Why something failed, in one paragraph: the message of an error of ours, and the kind of any other before its own."""
    if isinstance(error, MammozooError):
        return str(error)
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def problems(error: pydantic.ValidationError, whole: str = "", most: int | None = None) -> str:
    """What pydantic refuses: `optimizer.lr: …; epochs: …`, the first `most`; `whole` stands for no key at all."""
    refused = [(".".join(part for part in map(str, e["loc"]) if "[" not in part), _plain(e)) for e in error.errors()]
    return "; ".join(f"{key or whole}: {why}" for key, why in [*dict.fromkeys(refused)][:most])


def _plain(error: ErrorDetails) -> str:
    """`must be a valid integer, not 'ten'`: what one of pydantic's errors says, and of a single value what it is."""
    message, given = must(error["msg"]), error["input"]
    shown = f", not {given!r}" if isinstance(given, str | int | float) and len(repr(given)) < 60 else ""
    return message + shown * message.startswith("must ")


def must(message: str) -> str:
    """`must be …` for pydantic's `Input should be …`, without what its parser could not do."""
    message = message.replace("Extra inputs are not permitted", "is no key that is known here")
    return re.sub(r", unable to .*", "", message.removeprefix("Value error, ").replace("Input should ", "must "))


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'drs'?` for the closest of `known`, or an empty string."""
    spelt = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.strip(" '\"").casefold(), spelt, n=1, cutoff=0.6)
    return f" Did you mean '{spelt[matches[0]]}'?" if matches else ""
