"""Where the code of a plugin runs during a check: without stdout and stdin, without a network, for a limited time."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from unittest import mock

_REPEAT = 5.0  # seconds until the next interrupt, for a plugin that swallows the first


class TooLong(BaseException):
    """The time is over. It is not an Exception, because many plugins catch those."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong in code that runs longer than `seconds`; 0 for no limit.

    The limit needs signals: there is none outside the main thread or on Windows. Code that waits inside a library written in
    C is interrupted when the library returns.
    """
    if seconds <= 0 or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"It was stopped after {seconds:g} seconds.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, _REPEAT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], str]]:
    """Catch what Python, C code and child processes print; yields a function that returns the text so far. stdin is empty."""

    def printed() -> str:
        _flush()
        file.seek(0)
        return file.read().decode("utf-8", "replace")

    _flush()
    original = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            with (
                open(os.dup(1), "w", encoding="utf-8", errors="replace") as text,  # noqa: PTH123 - a descriptor
                contextlib.redirect_stdout(text),
                mock.patch.object(sys, "stdin", io.StringIO()),
            ):
                yield printed
        finally:
            _flush()
            os.dup2(original, 1)
            os.close(original)


def _flush() -> None:
    """Write out what is buffered, before file descriptor 1 changes."""
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None, closed or detached
            stream.flush()  # type: ignore[union-attr]


@contextlib.contextmanager
def offline() -> Iterator[list[str]]:
    """Refuse connections and name look-ups; yields the list of attempts, because a plugin may swallow the error."""
    attempts: list[str] = []

    def refuse(*address: Any, **_: Any) -> Any:
        attempts.append(str(next((part for part in address if not isinstance(part, socket.socket)), "?")))
        raise OSError("mammozoo.testing allows no connection here")

    with (
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket.socket, "connect_ex", refuse),
        mock.patch.object(socket, "create_connection", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse),
    ):
        yield attempts
