"""A stretch of work of which nothing reaches stdout, by whatever way it is written, and in which nobody is asked."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], str]]:
    """Catch what is printed by Python, by C code and by child processes; gives a function that tells it so far.

    `input()` finds an empty stdin. Threads and processes that outlive the stretch are not held.
    """
    with tempfile.TemporaryFile() as kept, _file_descriptor(kept.fileno()):
        text = io.TextIOWrapper(os.fdopen(os.dup(kept.fileno()), "wb"), "utf-8", "replace", write_through=True)

        def printed() -> str:
            _flush()
            kept.seek(0)  # the descriptors share one place in the file, which reading leaves at its end
            return kept.read().decode("utf-8", "replace")

        with text, contextlib.redirect_stdout(text), _nobody_to_ask():
            yield printed


@contextlib.contextmanager
def _nobody_to_ask() -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = before


@contextlib.contextmanager
def _file_descriptor(target: int) -> Iterator[None]:
    """Let file descriptor 1 write to `target`, where there is one."""
    _flush()
    try:
        own = os.dup(1)
    except OSError:
        yield
        return
    try:
        os.dup2(target, 1)
        yield
    finally:
        _flush()
        os.dup2(own, 1)
        os.close(own)


def _flush() -> None:
    """What waits in the buffers goes where it belonged when it was printed."""
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()
