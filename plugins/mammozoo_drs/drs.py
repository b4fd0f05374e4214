"""Deep representation scaling: adapt a frozen network by scaling what flows between its blocks.

Byra, "Breast mass classification with transfer learning based on scaling of deep representations", Biomedical
Signal Processing and Control 69 (2021) 102828. Equations 2–4, for the l-th residual block:

    y  = x + F(x)                             the block, frozen                  (N, C, H, W)
    y' = S_m(i, j) · y  + S_b(i, j)           one weight and bias a position     2·H·W numbers
    z  = D_m(k)    · y' + D_b(k)              one weight and bias a channel      2·C   numbers
    x  = ReLU(z)

           x ──┬── conv-bn-relu-conv-bn ──(+)── S ── D ── ReLU ──▶
               └───────────────────────────┘     DRS

It starts as the identity, so the first forward pass is that of the frozen network. On ResNet101 at 224×224 the 33 layers
hold 99,422 parameters, 101,471 with the one-output head (the number in the paper's Table 1, whose caption says
"excluding the dense layer").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn

from mammozoo import Model, Strategy
from mammozoo.errors import IncompatibleError
from mammozoo_drs.norm import lean
from mammozoo_drs.scaling import scale


class DrsLayer(nn.Module):
    """z = D_m · (S_m · y + S_b) + D_b on (N, C, H, W); H and W are fixed by the parameters."""

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.spatial_weight = nn.Parameter(torch.ones(1, 1, height, width))
        self.spatial_bias = nn.Parameter(torch.zeros(1, 1, height, width))
        self.depth_weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.depth_bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """The scaled representation, in y's own dtype: float32 would promote all that follows."""
        if y.shape[1:] != (self.depth_weight.shape[1], *self.spatial_weight.shape[2:]):
            raise IncompatibleError(
                f"A DRS layer made for {self.depth_weight.shape[1]} × {tuple(self.spatial_weight.shape[2:])} "
                f"(channels × positions) met {y.shape[1]} × {tuple(y.shape[2:])}: a DRS model has one input size."
            )
        return scale(y, self.spatial_weight, self.spatial_bias, self.depth_weight, self.depth_bias)


class Drs(Strategy):
    """Train scaling layers in front of the last activation of every residual block, and the head."""

    name: ClassVar[str] = "drs"

    def __init__(self, rate: Annotated[float, Field(ge=0, le=1000)] = 1.0):
        """`rate` multiplies the learning rate of the layers; the paper has one rate for them and the head."""
        self.rate = rate

    def adapt(self, model: Model) -> None:
        """Insert a layer into every block; where a block has no final activation, at its end.

        The batch norms become lean: gradients pass through all of them, and while frozen they need not keep their inputs.
        """
        model.backbone.insert_before_final_activations(DrsLayer)
        lean(model.backbone)

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """The parameters of the inserted layers."""
        return [p for layer in layers(model) for p in layer.parameters()]

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        """The factor `rate` on the inserted layers."""
        return dict.fromkeys(self.trainable(model), self.rate)


def layers(model: nn.Module) -> list[DrsLayer]:
    """The DRS layers of an adapted model, in forward order."""
    return [module for module in model.modules() if isinstance(module, DrsLayer)]
