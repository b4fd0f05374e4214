"""A head: from feature maps to one number a class. A head owns its pooling."""

from __future__ import annotations

from mammozoo import HeadSpec
from torch import nn


def build(channels: int, height: int, width: int, outputs: int, dropout: float = 0.0) -> nn.Module:
    """(N, channels, height, width) → (N, outputs) logits: the largest value of each map, dropout, a dense layer.

    The first four arguments are given; the others are options: `example-max:dropout=0.2`.
    """
    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, outputs))


MAX = HeadSpec("example-max", "the largest value of each map, one dense layer", build)
