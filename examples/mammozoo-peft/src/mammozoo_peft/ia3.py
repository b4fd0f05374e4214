"""IA³: the frozen network's inner activations are rescaled, channel by channel, by learned factors.

Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning", NeurIPS 2022
(arXiv 2205.05638), for transformers: l · K and l · V behind the projections to keys and values, l · γ(W x) before the second
layer of a feed-forward block. For a convolution `peft` takes one factor a channel, (1, C, 1, 1), in the same two places:

    side=output    l · (W x)      as for keys and values; one factor an output channel
    side=input     W (l · x)      as in a feed-forward block, where x is what the last activation gave; one an input channel

All factors start at one, so the first forward pass is that of the frozen network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

from mammozoo import Model, Strategy
from torch import nn

from mammozoo_peft.injection import exactly, free_layers, inject, parameters


class PeftIa3(Strategy):
    """IA³ of peft on all convolutions and dense layers of the frozen backbone (Liu 2022)."""

    name: ClassVar[str] = "peft-ia3"

    def __init__(self, side: Literal["output", "input"] = "output", rate: float = 1.0):
        """Factors on what a layer gives (`output`) or on what it gets (`input`); `rate` multiplies their learning rate."""
        self.side, self.rate = side, rate

    def adapt(self, model: Model) -> None:
        """Put a factor on every channel."""
        from peft import IA3Config

        names = exactly(list(free_layers(model, (nn.Conv2d, nn.Linear), self.name)))
        feed_forward: str | list[str] = names if self.side == "input" else []
        inject(model, IA3Config(target_modules=names, feedforward_modules=feed_forward))

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """The factors."""
        return parameters(model, "ia3_")

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        """The factor `rate` on all of them."""
        return dict.fromkeys(self.trainable(model), self.rate)
