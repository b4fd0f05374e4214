"""ResNet9, the small residual network that trains in minutes.

    prep    conv 64                            64×64
    layer1  conv 128, pool                     32×32
    res1    x + conv 128, conv 128             32×32
    layer2  conv 256, pool                     16×16
    layer3  conv 512, pool                      8×8
    res3    x + conv 512, conv 512              8×8     (conv = convolution 3×3, batch norm, ReLU)

Used for breast ultrasound by Vanga et al., "Breast cancer detection and recognition by using deep learning techniques –
ultrasound images". The paper does not print the architecture; this is the well-known one of that name (from the DAWNBench
entries of D. Page, 2018). Its last max pooling and dense layer belong to the head here. `width` scales all channels: 64 is
the original, 32 has a quarter of the parameters.
"""

from __future__ import annotations

import torch
from torch import nn

from mammozoo import Backbone
from mammozoo.data.preprocessing import Input
from mammozoo.models.backbone import Followed, Make, output_shapes


class Conv(nn.Sequential):
    """Convolution 3×3, batch norm, ReLU, and perhaps a max pooling by 2."""

    def __init__(self, inputs: int, outputs: int, pool: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act: nn.Module = nn.ReLU(inplace=True)
        if pool:
            self.pool = nn.MaxPool2d(2)


class Residual(nn.Module):
    """x + two convolutions of x; no activation after the sum."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = Conv(channels, channels), Conv(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum."""
        return x + self.conv2(self.conv1(x))


class ResNet9(Backbone):
    """(N, 3, H, W) → (N, 8·width, H/8, W/8)."""

    def __init__(self, width: int = 64):
        super().__init__()
        w = width
        self.channels = 8 * w
        self.input = Input(size=(64, 64))
        self.prep = Conv(3, w)
        self.layer1 = Conv(w, 2 * w, pool=True)
        self.res1 = Residual(2 * w)
        self.layer2 = Conv(2 * w, 4 * w, pool=True)
        self.layer3 = Conv(4 * w, 8 * w, pool=True)
        self.res3 = Residual(8 * w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Through the six blocks."""
        for block in self.children():
            x = block(x)
        return x

    def block_names(self) -> list[str]:
        """The six blocks."""
        return [name.partition(".")[0] for name, _ in self.named_parameters()]

    def stage_names(self) -> list[str]:
        """One stage for each resolution."""
        stages = {"prep": "stage0", "layer1": "stage1", "res1": "stage1", "layer2": "stage2"}
        return [stages.get(block, "stage3") for block in self.block_names()]

    def insert_before_final_activations(self, make: Make) -> list[nn.Module]:
        """Before the ReLU of the plain blocks; at the end of the residual ones, whose sum has no activation."""
        blocks = dict(self.named_children())
        places = [block.norm if isinstance(block, Conv) else block for block in blocks.values()]
        layers = [make(*shape) for shape in output_shapes(self, places, self.input)]
        for (name, block), layer in zip(blocks.items(), layers, strict=True):
            if isinstance(block, Conv):
                block.act = nn.Sequential(layer, block.act)
            else:
                setattr(self, name, Followed(block, layer))
        return layers
