"""Multistage transfer for breast ultrasound: EfficientNetB2 at once, ResNet50 by way of microscopy, BUSI by way of its lesions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mammozoo import hookimpl


@hookimpl
def register_recipes() -> Iterable[Path]:
    """`efficientnetb2-mendeley`, `multistage-mendeley`, `multistage-busi`, and each as published."""
    return sorted((Path(__file__).parent / "recipes").glob("*.yaml"))


@hookimpl
def register_papers() -> Iterable[Path]:
    """What the English text and the Korean abstract reported, and a variant on BUSI."""
    return sorted((Path(__file__).parent / "papers").glob("*.yaml"))
