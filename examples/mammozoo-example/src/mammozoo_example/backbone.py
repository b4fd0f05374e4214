"""A backbone: three convolutions. Images go in, feature maps come out; pooling and classes are the head's."""

from __future__ import annotations

import torch
from mammozoo import Backbone, BackboneSpec
from mammozoo.data.preprocessing import Input
from torch import nn


class Block(nn.Sequential):
    """Convolution 3 × 3, batch norm, ReLU; halves the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU()


class Net(Backbone):
    """(N, 3, H, W) → (N, 4 · width, H/8, W/8)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.channels = 4 * width
        self.input = Input(size=(32, 32))
        self.block1 = Block(3, width)
        self.block2 = Block(width, 2 * width)
        self.block3 = Block(2 * width, 4 * width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The last block's maps."""
        maps: torch.Tensor = self.block3(self.block2(self.block1(images)))
        return maps

    def block_names(self) -> list[str]:
        """For every parameter its block: what `last-blocks:k` counts."""
        return [name.partition(".")[0] for name, _ in self.named_parameters()]

    def stage_names(self) -> list[str]:
        """For every parameter its stage, the blocks of one resolution: here a block each."""
        return self.block_names()


#: `build` gives random weights and touches no network; `default_weights` is what `weights: auto` means.
NET = BackboneSpec("example-net", "three convolutions", Net, default_weights="random")
