"""Who may write into a run: one process at a time, and the fits that it has started elsewhere for as long as it wants them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mammozoo.errors import ConflictError
from mammozoo.files import locked, write_text

#: The file in a run that its process holds locked, there while it does; the system frees it however that process ends.
LOCK = ".lock"
PULSE = ".pulse"
_EVERY = 1.0  # seconds between two looks at the pulse
_PATIENCE = 60.0  # seconds without a beat after which the holder counts as gone
_PR_SET_PDEATHSIG = 1  # of Linux' prctl(2): the signal that comes when the parent dies


def hold(run: Path) -> contextlib.ExitStack:
    """The lock of a run, until the stack is closed or the process ends; none where the file system has no locks.

    Raises:
        ConflictError: another process holds it.
    """
    lock = contextlib.ExitStack()
    try:
        lock.enter_context(locked(run / LOCK, patience=0))
    except TimeoutError:
        raise ConflictError(
            f"A training of '{run}' is under way in another process. Wait for its end or stop it, then go on with: "
            f"mammozoo train --resume {run}"
        ) from None
    return lock


def die_with_parent() -> None:
    """On Linux: a process that is killed must not leave processes that go on writing into a run that somebody resumes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Pulse:
    """By this file the process that holds a run tells fits elsewhere that it still wants them; `beat` at least every minute."""

    def __init__(self, run: Path):
        self.path, self.token = run.absolute() / PULSE, secrets.token_hex(8)
        write_text(self.path, self.token)

    def beat(self) -> None:
        """Still here; takes no room on the disk."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def unwanted(self) -> Unwanted:
        """What a fit asks."""
        return Unwanted(self.path, self.token)

    def close(self) -> None:
        """No fit is wanted any longer."""
        with contextlib.suppress(OSError):
            self.path.unlink()


@dataclass
class Unwanted:
    """Whether a fit in another process has to stop: its run is held by another one now, is gone, or nobody renews its pulse.

    The clocks of two machines may differ, so that only changes of the file's time count.
    """

    path: Path
    token: str
    asked: float = float("-inf")
    beat: int = 0
    heard: float = 0.0
    gone: bool = False

    def __call__(self) -> bool:
        """Looks once a second."""
        now = time.monotonic()
        if not self.gone and now - self.asked >= _EVERY:
            self.gone = self._look(now)
            self.asked = now
        return self.gone

    def _look(self, now: float) -> bool:
        try:
            with self.path.open(encoding="utf-8") as file:
                token, beat = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return True
        except OSError:  # a network disk that is away for a moment
            token, beat = self.token, self.beat
        if beat != self.beat or not self.heard:
            self.beat, self.heard = beat, now
        return token != self.token or now - self.heard > _PATIENCE
