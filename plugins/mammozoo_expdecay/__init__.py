"""Exponentially decaying learning rates (Chougrad 2017) as the strategy `expdecay`, with the paper's seven variants."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:  # importing the class imports torch, which most commands do not need
    from mammozoo import Strategy


@hookimpl
def register_strategies() -> Iterable[type[Strategy]]:
    """`expdecay`."""
    from mammozoo_expdecay.expdecay import ExpDecay

    return [ExpDecay]


@hookimpl
def register_recipes() -> Iterable[Path]:
    """`chougrad-bcdr` and the variants that it is compared with."""
    return sorted((Path(__file__).parent / "recipes").glob("*.yaml"))


@hookimpl
def register_papers() -> Iterable[Path]:
    """`chougrad-2017`."""
    return sorted((Path(__file__).parent / "papers").glob("*.yaml"))
