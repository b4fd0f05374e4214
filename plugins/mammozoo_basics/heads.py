"""Heads: how a feature map becomes a decision. Each starts at logits near zero."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from mammozoo import HeadSpec

Width = Annotated[int, Field(ge=1, le=65_536)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def _dense(inputs: int, outputs: int) -> nn.Linear:
    """A dense layer with small normal weights and no bias, so that training starts from even odds."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


class GlobalAverage(nn.Module):
    """(N, C, h, w) → (N, C), the mean over positions."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """The mean over h and w."""
        return maps.mean((2, 3))


def gap(channels: int, height: int, width: int, outputs: int, dropout: Dropout = 0.0) -> nn.Module:
    """Global average pooling and one dense layer, as in ResNet (He 2016) and Byra 2021."""
    return nn.Sequential(GlobalAverage(), nn.Dropout(dropout), _dense(channels, outputs))


def gap_fc(
    channels: int, height: int, width: int, outputs: int, hidden: Width = 4096, dropout: Dropout = 0.2
) -> nn.Module:
    """Global average pooling, a wide dense layer with ReLU, dropout, a dense layer: Falconí 2020."""
    wide = [nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(GlobalAverage(), *wide, _dense(hidden, outputs))


def flatten_2fc(
    channels: int,
    height: int,
    width: int,
    outputs: int,
    first: Width = 512,
    second: Width = 128,
    dropout: Dropout = 0.5,
) -> nn.Module:
    """The flattened map through two dense layers with ReLU, dropout, a dense layer: Chougrad 2017."""
    layers = [nn.Linear(channels * height * width, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Dropout(dropout), _dense(second, outputs))


HEADS = [
    HeadSpec("gap", "global average pooling, one dense layer", gap),
    HeadSpec("gap-fc", "global average pooling, dense 4096, dropout, dense (Falconí 2020)", gap_fc),
    HeadSpec("flatten-2fc", "flatten, dense 512, dense 128, dropout, dense (Chougrad 2017)", flatten_2fc),
]
