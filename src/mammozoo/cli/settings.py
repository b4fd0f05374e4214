"""Shared by the commands that train: `--set KEY=VALUE`, and a clean end on SIGTERM."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

from mammozoo.errors import UsageError


def read_settings(pairs: list[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` pairs as values by dotted key; values are YAML.

    Raises:
        UsageError: a pair has no `=`, or its value is not YAML.
    """
    import yaml

    values = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, not '{pair}'.")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {pair}: {' '.join(str(error).split())}.") from None
    return values


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """A function that tells whether SIGTERM came, which Slurm sends before a job's time is over.

    Training then ends after the current batch. A second SIGTERM ends the process at once. Of several processes the main one
    keeps the state; the launcher ends the others.
    """
    received: list[int] = []

    def record(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = signal.signal(signal.SIGTERM, record)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
