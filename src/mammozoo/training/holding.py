"""Who may write into a run: one process at a time, and the fits that it has started elsewhere for as long as it wants them.

Or several processes, each into the folder of a fit of its own, which it has claimed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mammozoo.errors import ConflictError
from mammozoo.files import disk_error, locked, write_text

#: The file in a run that its process holds locked, there while it does; the system frees it however that process ends.
LOCK = ".lock"
PULSE = ".pulse"
_EVERY = 1.0  # seconds between two looks at the pulse
_PATIENCE = 60.0  # seconds without a beat after which the holder counts as gone
_MOST = 10.0  # seconds that count between two looks: in longer ones this process was stopped, and perhaps the holder with it
_BEAT = 2.0  # seconds between two beats of a fit that is claimed
_SILENCE = 10.0  # seconds without one after which it is free
_PR_SET_PDEATHSIG = 1  # of Linux' prctl(2): the signal that comes when the parent dies


def hold(run: Path, *, shared: bool = False) -> contextlib.ExitStack:
    """The lock of a run, until the stack is closed or the process ends; none where the file system has no locks.

    Raises:
        ConflictError: another process holds it, and does not share it.
    """
    lock = contextlib.ExitStack()
    try:
        lock.enter_context(locked(run / LOCK, patience=0, shared=shared))
    except TimeoutError:
        raise ConflictError(
            f"Another process is training '{run}'. Wait until it ends, or stop it, then continue with: "
            f"mammozoo train --resume {run}"
        ) from None
    return lock


@contextlib.contextmanager
def claim(fit: Path) -> Iterator[Unwanted]:
    """Keep the folder of a fit for this process; what it yields tells whether another one has taken it nevertheless.

    A lock frees it however its process ends. Some network disks have none, or none between machines: there the beats tell that
    a process lives; of two that take over from one that was killed the later one has the fit.

    Raises:
        ConflictError: another process trains it.
    """
    taken = ConflictError(f"'{fit}' is being trained by another process.")
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(fit / LOCK, patience=0))
        except TimeoutError:
            raise taken from None
        here, until = f"{platform.node()} ", time.monotonic() + _SILENCE
        before = now = _beat_of(fit / PULSE)
        while now and not (lock and now[0].startswith(here)) and time.monotonic() < until:
            time.sleep(_BEAT / 10)
            if (now := _beat_of(fit / PULSE)) and now != before:
                raise taken
        try:
            pulse = Pulse(fit, here, new=now is None)
        except FileExistsError:
            raise taken from None
        stack.callback(pulse.close)
        over = threading.Event()
        stack.callback(over.set)
        threading.Thread(target=pulse.keep, args=(over,), daemon=True).start()
        yield pulse.unwanted()


def _beat_of(pulse: Path) -> tuple[str, int] | None:
    """(token, time of the last beat) of a pulse; None if there is none."""
    try:
        with pulse.open(encoding="utf-8") as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def die_with_parent() -> None:
    """On Linux: a process that is killed must not leave processes that go on writing into a run that somebody resumes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Pulse:
    """By this file the process that holds a run tells fits elsewhere that it still wants them; `beat` at least every minute."""

    def __init__(self, run: Path, whose: str = "", *, new: bool = False):
        self.path, self.token = run.absolute() / PULSE, whose + secrets.token_hex(8)
        if not new:
            write_text(self.path, self.token)
            return
        try:
            run.mkdir(parents=True, exist_ok=True)
            with self.path.open("x", encoding="utf-8") as file:  # which one process can do, also without locks
                file.write(self.token)
        except FileExistsError:
            raise
        except OSError as error:
            raise disk_error(error, self.path) from error

    def beat(self) -> None:
        """Still here; takes no room on the disk."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def keep(self, over: threading.Event) -> None:
        """Beat until it is over."""
        while not over.wait(_BEAT):
            self.beat()

    def unwanted(self) -> Unwanted:
        """What a fit asks."""
        return Unwanted(self.path, self.token)

    def close(self) -> None:
        """No fit is wanted any longer."""
        with contextlib.suppress(OSError):
            if (last := _beat_of(self.path)) and last[0] == self.token:  # not that of a process that has taken over
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
    silence: float = 0.0
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
            if (last := _beat_of(self.path)) is None:
                return True
            token, beat = last
        except OSError:  # a network disk that is away for a moment
            token, beat = self.token, self.beat
        self.silence = 0.0 if beat != self.beat else self.silence + min(now - self.asked, _MOST)
        self.beat = beat
        return token != self.token or self.silence > _PATIENCE
