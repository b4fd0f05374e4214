"""Progress of long work, for whoever draws it, and what it took."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mammozoo.training.history import EpochRow


def agree(question: str) -> bool:
    """Yes to every question."""
    return True


#: Asked before much is fetched that nobody vouches for; a command line on a terminal asks its user instead.
confirm: Callable[[str], bool] = agree


class Clock:
    """Seconds by phase of a run: start, read, check, split, build, first step, steps, validation, save, scores, write.

    A phase may come again, and its seconds are added up. The first begins with the clock.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.since = time.perf_counter()

    def lap(self, phase: str) -> None:
        """What was done since the last lap was this phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self.since
        self.since = now

    def rounded(self) -> dict[str, float]:
        """Seconds to the millisecond, for `run.json`."""
        return {phase: round(seconds, 3) for phase, seconds in self.seconds.items()}


class Progress:
    """Receives the progress of a run. This base class is silent; the command line draws bars."""

    @functools.cached_property
    def clock(self) -> Clock:
        """What the run's phases take."""
        return Clock()

    def start(self, what: str, total: int, unit: str = "images") -> None:
        """Work on `total` images (or other units) begins."""

    def advance(self, images: int = 1) -> None:
        """More of them are done."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch is complete."""

    def fit(self, name: str, row: EpochRow, epochs: int, worker: str) -> None:
        """An epoch of `epochs` is complete in one of several fits at once; `worker` is its host and process."""

    def fit_ended(self, name: str) -> None:
        """One of several fits at once has ended."""

    def note(self, text: str) -> None:
        """A message for the user."""

    def stop(self) -> None:
        """All work has ended."""
