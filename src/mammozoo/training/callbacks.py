"""What passes through a whole training: whom it reports to, what stops it, and the processes that share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mammozoo.progress import Progress
from mammozoo.training.distributed import SINGLE, DistContext

if TYPE_CHECKING:
    from mammozoo.training.history import EpochRow


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
