"""What commands that train share: `--set KEY=VALUE`, and ending politely on SIGTERM."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


def read_settings(pairs: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` pairs as values by dotted key; values are YAML.

    Raises:
        UsageError: a pair has no `=`, or its value is no YAML.
    """
    import yaml

    from mammozoo.errors import UsageError

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, not '{pair}'.")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {pair}: {' '.join(str(error).split())}.") from None
    return found


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM came, as Slurm sends it before a job's time is over: training then ends after the batch under way.

    A second one ends the process at once. Of several processes the leading one keeps the state; the others are ended by the
    launcher.
    """
    asked: list[int] = []

    def note_it(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = signal.signal(signal.SIGTERM, note_it)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)
