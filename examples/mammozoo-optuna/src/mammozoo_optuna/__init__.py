"""Searches of a recipe's space by Optuna: points are sampled and pruned by what validation showed so far."""

from __future__ import annotations

from mammozoo import CommandSpec, EpochRow, RunDirectory, hookimpl

from mammozoo_optuna import watch
from mammozoo_optuna.command import search

mammozoo_api = 1


@hookimpl
def register_commands() -> list[CommandSpec]:
    """The command `mammozoo optuna`."""
    example = (
        "mammozoo optuna own --space space.yaml --trials 20 --set root=images --set split.folds=1 --out runs/search"
    )
    return [CommandSpec("optuna", "search a recipe's space by Optuna", run=search, examples=example)]


@hookimpl
def epoch_end(run: RunDirectory, row: EpochRow) -> str | None:
    """Tell Optuna of an epoch of the trial under way; a reason to prune it, or None."""
    return watch.judge(row.epoch, row.monitor)
