"""The epochs of a fit: a row each, their table `history.csv`, and a line in the log."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammozoo.errors import IncompatibleError, reason
from mammozoo.files import read_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochRow:
    """One line of `history.csv`. Losses are class-weighted means; `rate` is images a second while training."""

    split: str
    epoch: int
    phase: int
    lr: float
    train_loss: float
    val_loss: float
    monitor: float
    best: bool
    seconds: float
    rate: float


def log_epoch(fit: str, row: EpochRow, monitor: str) -> None:
    """A line for `log.txt`."""
    log.info(
        "%s epoch %d: train loss %.4f, val loss %.4f, %s %.4f%s, lr %g",
        fit, row.epoch, row.train_loss, row.val_loss, monitor, row.monitor, " (best)" if row.best else "", row.lr,
    )  # fmt: skip


def read_history(folder: Path) -> list[EpochRow]:
    """The epochs in a fit's `history.csv`, one or more; IncompatibleError if it is damaged."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(EpochRow)}
    read: dict[str, Callable[[str], Any]] = {
        "str": str,
        "int": int,
        "float": float,
        "bool": {"True": True, "False": False}.__getitem__,
    }
    path = folder / "history.csv"
    try:
        rows = [EpochRow(**{name: read[kinds[name]](cell) for name, cell in row.items()}) for row in read_table(path)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise IncompatibleError(f"'{path}' is not the history of a fit: {reason(error)}.") from None
    if not any(row.best for row in rows):
        raise IncompatibleError(f"'{path}' is not the history of a fit: no epoch is the best.")
    return rows


def history_table(history: Iterable[EpochRow]) -> list[dict[str, Any]]:
    """The rows of `history.csv`: values in full precision, times rounded."""
    return [vars(row) | {"seconds": round(row.seconds, 2), "rate": round(row.rate, 1)} for row in history]
