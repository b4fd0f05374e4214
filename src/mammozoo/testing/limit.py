"""A limit on how long a plugin may take, for what never ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_AGAIN = 5.0  # seconds to the next try, where a plugin swallows the first


class TooLong(BaseException):
    """The time is over. No Exception, which many a plugin catches."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong in what runs longer than `seconds`; 0 for no limit.

    It needs signals: outside the main thread and on Windows there is no limit. What waits inside a library's own code is
    interrupted when that returns.
    """
    if seconds <= 0 or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"It was stopped after {seconds:g} seconds.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
