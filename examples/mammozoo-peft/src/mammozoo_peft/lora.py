"""LoRA: what a layer learns is added to its frozen weight as a product of two small ones.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022 (arXiv 2106.09685), for dense layers:

    h = W x + (alpha / r) · B A x          A: r × inputs, random;  B: outputs × r, zero

For a k × k convolution `peft` takes A as a k × k convolution to r channels, with the stride and padding of W, and B as a 1 × 1
convolution from r channels. So r · (inputs · k² + outputs) numbers learn in a layer, and the first forward pass is that of
the frozen network, for B is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from mammozoo import Model, Strategy
from mammozoo.errors import IncompatibleError, UsageError
from torch import nn

from mammozoo_peft.injection import exactly, free_layers, inject, parameters

Where = Literal["all", "spatial", "pointwise"]


class PeftLora(Strategy):
    """LoRA of peft on the convolutions and dense layers of the frozen backbone (Hu 2022); grouped ones are left alone."""

    name: ClassVar[str] = "peft-lora"

    def __init__(self, r: int = 4, alpha: int | None = None, where: Where = "all", rate: float = 1.0):
        """LoRA of rank `r`.

        Args:
            r: rank, at least 1.
            alpha: the update is multiplied by alpha / r; None for alpha = r.
            where: `spatial` takes convolutions larger than 1 × 1, `pointwise` those of 1 × 1 and dense layers.
            rate: factor on the learning rate of A and B.
        """
        if r < 1 or (alpha is not None and alpha < 1):
            raise UsageError(f"peft-lora: r and alpha must be at least 1; got r={r}, alpha={alpha}.")
        self.r, self.alpha, self.where, self.rate = r, r if alpha is None else alpha, where, rate

    def adapt(self, model: Model) -> None:
        """Put A and B beside every layer that LoRA fits."""
        from peft import LoraConfig

        layers = free_layers(model, (nn.Conv2d, nn.Linear), self.name)
        chosen = [name for name, layer in layers.items() if fits(layer) and self.where in ("all", place(layer))]
        if not chosen:
            raise IncompatibleError(
                f"peft-lora: none of the {len(layers)} convolutions and dense layers of this backbone is plain, without groups and "
                f"dilation, and '{self.where}'."
            )
        inject(model, LoraConfig(r=self.r, lora_alpha=self.alpha, target_modules=exactly(chosen)))

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """A and B of every layer."""
        return parameters(model, "lora_")

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        """The factor `rate` on A and B."""
        return dict.fromkeys(self.trainable(model), self.rate)


def fits(layer: Any) -> bool:
    """Whether A can be made like the layer.

    `peft` makes it of the layer's own type from its kernel, stride and padding alone. It would lose a dilation and another
    padding mode; a type with a rule of its own, such as standardised weights, would not start at zero. A depthwise convolution has
    k² weights a channel, which is no matrix to take a lower rank of, and `peft` wants r to be a multiple of the groups.
    """
    if type(layer) is nn.Linear:
        return True
    return type(layer) is nn.Conv2d and layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"


def place(layer: Any) -> Where:
    """Whether a layer looks at more than one position."""
    return "spatial" if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1) else "pointwise"
