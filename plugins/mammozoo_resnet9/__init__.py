"""ResNet9 with changing optimizers: a small backbone that trains from scratch, and its recipes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo import hookimpl

if TYPE_CHECKING:  # importing the class imports torch, which most commands do not need
    from mammozoo import BackboneSpec


@hookimpl
def register_backbones() -> Iterable[BackboneSpec]:
    """`resnet9`."""
    from mammozoo import BackboneSpec

    return [
        BackboneSpec(
            "resnet9",
            "small residual network for 64×64 images, trained from scratch",
            _resnet9,
            default_weights="zoo:busi-resnet9",
            parameters=6_568_000,
            input_size=(64, 64),
            weights="none",
        )
    ]


def _resnet9(width: int = 64) -> Any:
    from mammozoo_resnet9.resnet9 import ResNet9

    return ResNet9(width)


@hookimpl
def register_recipes() -> Iterable[Path]:
    """`resnet9-busi` and its relatives."""
    return sorted((Path(__file__).parent / "recipes").glob("*.yaml"))


@hookimpl
def register_papers() -> Iterable[Path]:
    """What the paper reported, row by row."""
    return sorted((Path(__file__).parent / "papers").glob("*.yaml"))
