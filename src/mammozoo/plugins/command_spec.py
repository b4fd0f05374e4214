"""A command that a plugin adds to the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

#: The commands of mammozoo itself, which no plugin replaces.
OWN = frozenset(
    (
        "cite", "compare", "data", "diagnose", "doctor", "embed", "evaluate", "explain", "export", "init", "list", "merge",
        "plugins", "predict", "recalibrate", "refit", "report", "reproduce", "serve", "show", "study", "train", "zoo",
    )
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class CommandSpec:
    """A command: `mammozoo NAME`.

    Attributes:
        name: small letters, digits and hyphens, as it is typed.
        summary: one line, for `mammozoo list commands`.
        run: a function whose parameters are arguments and options, as typer reads them, and whose docstring is the help; or a
            `typer.Typer` with commands of its own. A `mammozoo.MammozooError` becomes one line and its exit code.
        examples: command lines for the help, a line each.
    """

    name: str
    summary: str
    run: Callable[..., object]
    examples: str = ""


def is_typed(name: str) -> bool:
    """Whether a command can have this name."""
    return _NAME.fullmatch(name) is not None
