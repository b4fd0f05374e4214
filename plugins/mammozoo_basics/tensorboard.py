"""Epochs for TensorBoard, below the folder that MAMMOZOO_TENSORBOARD names: one of each run, and in it one of each fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mammozoo import EpochRow, RunDirectory


def log_epoch(folder: str, run: RunDirectory, row: EpochRow) -> None:
    """Append one epoch; the file is closed again, so that a run that is killed and resumed goes on in a further one."""
    from torch.utils.tensorboard import SummaryWriter

    values = {
        "loss/train": row.train_loss,
        "loss/val": row.val_loss,
        "learning rate": row.lr,
        "images per second": row.rate,
    }
    with SummaryWriter(str(Path(folder) / run.path.resolve().name / row.split)) as writer:
        for name, value in {**values, f"monitor/{run.recipe.monitor}": row.monitor}.items():
            writer.add_scalar(name, value, row.epoch)
