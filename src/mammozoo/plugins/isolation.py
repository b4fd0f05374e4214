"""What a plugin's code must not do to our process while it is imported or asked, and what is put back afterwards.

Kept off our stdout is what it prints through `sys.stdout`. Put back are the working folder, the root logger, blanket filters of
warnings and torch's default type. Out of reach are what a child process or C code writes to file descriptor 1, `os._exit`, and a
loop without end.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: Seconds from which an import or a hook is called slow.
SLOW = 1.0


@dataclass
class Visit:
    """What somebody else's code did while it ran.

    Attributes:
        seconds: wall time.
        printed: to `sys.stdout`.
        changed: what it changed of the process and was put back, each in a few words.
    """

    seconds: float = 0.0
    printed: str = ""
    changed: list[str] = field(default_factory=list)


@contextlib.contextmanager
def contained() -> Iterator[Visit]:
    """Run somebody else's code; what it raises goes through, and the `Visit` is complete either way."""
    visit, printed, before = Visit(), io.StringIO(), _Surroundings()
    started = time.perf_counter()
    try:
        with contextlib.redirect_stdout(printed):
            yield visit
    finally:
        visit.seconds = time.perf_counter() - started
        visit.printed = printed.getvalue().strip()
        visit.changed = before.put_back()


class _Surroundings:
    """What is put back: settings of the whole process that no plugin has to change for all."""

    def __init__(self) -> None:
        root = logging.getLogger()
        self.folder = _folder()
        self.handlers, self.level, self.disabled = list(root.handlers), root.level, root.manager.disable
        self.blanket = _blanket_filters()
        self.dtype = _default_dtype()

    def put_back(self) -> list[str]:
        """What was changed."""
        changed = []
        if self.folder is not None and _folder() != self.folder:
            os.chdir(self.folder)
            changed.append("the working folder")
        root = logging.getLogger()
        if (list(root.handlers), root.level, root.manager.disable) != (self.handlers, self.level, self.disabled):
            root.handlers[:] = self.handlers
            root.setLevel(self.level)
            logging.disable(self.disabled)
            changed.append("the root logger")
        # Filters of one message or module are a library's own affair, and torch and others set some at import.
        if added := [one for one in _blanket_filters() if one not in self.blanket]:
            warnings.filters[:] = [one for one in warnings.filters if one not in added]  # type: ignore[index]
            changed.append("the filter of all warnings")
        if self.dtype is not None and _default_dtype() != self.dtype:
            sys.modules["torch"].set_default_dtype(self.dtype)
            changed.append("torch's default type")
        return changed


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - what chdir takes
    except OSError:  # deleted under our feet
        return None


def _blanket_filters() -> list[Any]:
    """Filters that act on every warning of whatever message and module."""
    return [one for one in warnings.filters if one[1] is None and one[2] is Warning and one[3] is None]


def _default_dtype() -> Any:
    """torch's default floating-point type; None before torch is there."""
    asked = getattr(sys.modules.get("torch"), "get_default_dtype", None)
    return asked() if asked is not None else None
