"""What passes through a whole training: whom it reports to, what stops it, and the processes that share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.training.distributed import SINGLE, DistContext

if TYPE_CHECKING:
    from mammozoo.training.history import EpochRow
    from mammozoo.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Callbacks:
    """Callbacks and process group of one training.

    Attributes:
        progress: draws bars, or nothing.
        on_epoch: called after every epoch; a text that it returns ends the fit of a point of a grid in this process.
        stop: once it returns True, training ends after the batch under way.
        dist: the processes that share each batch.
    """

    progress: Progress = field(default_factory=Progress)
    on_epoch: Callable[[EpochRow], object] = lambda row: None
    stop: Callable[[], bool] = lambda: False
    dist: DistContext = SINGLE


def told(run: RunDirectory) -> Callable[[EpochRow], str]:
    """What tells plugins of an epoch of the run, and gives the first reason that one returns to end the fit; else empty."""

    def on_epoch(row: EpochRow) -> str:
        answers = registry().notify("epoch_end", run=run, row=row)
        return next((text for text in answers if isinstance(text, str)), "")

    return on_epoch
