"""The classifier on top of a feature map, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class HeadSpec:
    """A head by name: `build(channels, height, width, outputs, **options)` → (N, channels, h, w) → (N, outputs) logits."""

    name: str
    summary: str
    build: Callable[..., nn.Module]
