"""What can go wrong, as one family of exceptions; each knows the exit code of the command that meets it.

A message says what, where, why and what to do, in one paragraph. The command line prints it without a
traceback; a notebook sees an ordinary exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'drs'?` for the closest of `known`, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{matches[0]}'?" if matches else ""
