"""The trial that is trained now: what `epoch_end`, which mammozoo calls, tells Optuna of. Needs no Optuna to be imported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

_trial: optuna.Trial | None = None


@contextlib.contextmanager
def watched(trial: optuna.Trial) -> Iterator[None]:
    """Inside, epochs are those of this trial."""
    global _trial
    _trial = trial
    try:
        yield
    finally:
        _trial = None


def judge(epoch: int, value: float) -> str | None:
    """Report the validation value of an epoch; why the trial should end here, or None. Of other trainings nothing is said."""
    if _trial is None:
        return None
    _trial.report(value, epoch)
    return f"Optuna's pruner, after epoch {epoch}" if _trial.should_prune() else None
