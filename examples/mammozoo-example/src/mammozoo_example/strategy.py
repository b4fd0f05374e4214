"""A strategy: what may learn in a pretrained network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from mammozoo import Model, Strategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class NormsOnly(Strategy):
    """Train the batch norms of the backbone and nothing else of it (Frankle 2021, arXiv 2003.00152)."""

    name: ClassVar[str] = "example-norms"

    def __init__(self, rate: float = 1.0) -> None:
        """`rate` multiplies the learning rate. The arguments are the options: `example-norms:rate=10`."""
        self.rate = rate

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """Weight and bias of every batch norm. The head trains in any case."""
        norms = [module for module in model.backbone.modules() if isinstance(module, _BatchNorm)]
        return [parameter for norm in norms for parameter in norm.parameters()]

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        """The factor `rate` on all of them."""
        return dict.fromkeys(self.trainable(model), self.rate)
