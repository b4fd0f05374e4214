"""What happens while something long goes on, told to whoever wants to draw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mammozoo.training.trainer import EpochRow


class Progress:
    """What happens while a run goes on; the command line overrides it to draw bars. Silent as it is."""

    def start(self, what: str, total: int, unit: str = "images") -> None:
        """A stretch of work of `total` images (or whatever the unit) begins."""

    def advance(self, images: int = 1) -> None:
        """So many more are done."""

    def epoch(self, row: EpochRow) -> None:
        """An epoch is complete."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def stop(self) -> None:
        """Nothing more will happen."""
