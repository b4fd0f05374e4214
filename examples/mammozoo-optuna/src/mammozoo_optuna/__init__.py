"""Searches of a recipe's space by Optuna: points are sampled and pruned by what validation showed so far."""

from __future__ import annotations

from mammozoo import EpochRow, RunDirectory, hookimpl

from mammozoo_optuna import watch

mammozoo_api = 1


@hookimpl
def epoch_end(run: RunDirectory, row: EpochRow) -> str | None:
    """Tell Optuna of an epoch of the trial under way; a reason to prune it, or None."""
    return watch.judge(row.epoch, row.monitor)
