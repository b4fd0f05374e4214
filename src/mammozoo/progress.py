"""Progress of long work, for whoever draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mammozoo.training.trainer import EpochRow


class Progress:
    """Receives the progress of a run. This base class is silent; the command line draws bars."""

    def start(self, what: str, total: int, unit: str = "images") -> None:
        """Work on `total` images (or other units) begins."""

    def advance(self, images: int = 1) -> None:
        """More of them are done."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch is complete."""

    def note(self, text: str) -> None:
        """A message for the user."""

    def stop(self) -> None:
        """All work has ended."""
