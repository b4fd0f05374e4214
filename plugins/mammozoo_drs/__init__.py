"""Deep representation scaling (Byra 2021) as the strategy `drs`, with the paper's recipes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:  # importing the class imports torch, which most commands do not need
    from mammozoo import Strategy


@hookimpl
def register_strategies() -> Iterable[type[Strategy]]:
    """`drs`."""
    from mammozoo_drs.drs import Drs

    return [Drs]


@hookimpl
def register_recipes() -> Iterable[Path]:
    """`byra-busi` and its comparisons."""
    return sorted((Path(__file__).parent / "recipes").glob("*.yaml"))


@hookimpl
def register_papers() -> Iterable[Path]:
    """What the paper reported, row by row."""
    return sorted((Path(__file__).parent / "papers").glob("*.yaml"))
