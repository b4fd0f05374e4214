"""Transfer learning and fine-tuning from layer γ (Falconí 2020): the strategy `gamma`, its recipes, metric and rejection rule."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:  # importing the classes imports torch and scipy, which most commands do not need
    from mammozoo import Metric, Outcome, Strategy
    from mammozoo.training.run_directory import RunDirectory


@hookimpl
def register_strategies() -> Iterable[type[Strategy]]:
    """`gamma`."""
    from mammozoo_gamma.gamma import Gamma

    return [Gamma]


@hookimpl
def register_metrics() -> Iterable[Metric]:
    """`auc-one-point`."""
    from mammozoo_gamma.judging import ONE_POINT

    return [ONE_POINT]


@hookimpl
def register_recipes() -> Iterable[Path]:
    """`falconi-cbis` (transfer learning) and its fine-tuned networks."""
    return sorted((Path(__file__).parent / "recipes").glob("*.yaml"))


@hookimpl
def register_papers() -> Iterable[Path]:
    """`falconi-2020`."""
    return sorted((Path(__file__).parent / "papers").glob("*.yaml"))


@hookimpl
def run_scored(run: RunDirectory, train: Outcome, test: Outcome) -> str | None:
    """Stamp a run of the paper's recipes if the paper would reject it."""
    from mammozoo_gamma.judging import PAPER, rejection

    return rejection(train, test) if run.recipe.paper == PAPER else None
