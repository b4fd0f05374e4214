"""The model: a backbone and a head. Frozen batch norms keep their statistics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mammozoo.config.names import Spec, call
from mammozoo.errors import FailedError, IncompatibleError
from mammozoo.models.backbone import Backbone, output_shapes
from mammozoo.models.head import HeadSpec


class Model(nn.Module):
    """(N, C, H, W) normalised images → (N, outputs) logits.

    Two classes share one logit, that of the second class (sigmoid); more classes have one each (softmax).
    """

    def __init__(self, backbone: Backbone, head: nn.Module, classes: tuple[str, ...]):
        super().__init__()
        self.backbone, self.head, self.classes = backbone, head, classes
        self.freeze_batch_norm = False
        self.layout = torch.channels_last

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits in float32: the head is small, and bfloat16 logits would tie images that differ."""
        maps = self.backbone(images.contiguous(memory_format=self.layout))
        with torch.autocast(maps.device.type, enabled=False):
            return self.head(maps.float())

    def train(self, mode: bool = True) -> Model:
        """Training mode, except for batch norms whose own weights are frozen: their statistics are frozen too."""
        super().train(mode)
        if mode:
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm) and (
                    self.freeze_batch_norm or not any(p.requires_grad for p in module.parameters())
                ):
                    module.eval()
        return self

    def parameter_counts(self) -> dict[str, int]:
        """Numbers of parameters: total, trainable, and in the head."""
        return {
            "total": sum(p.numel() for p in self.parameters()),
            "trainable": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "head": sum(p.numel() for p in self.head.parameters()),
        }


def has_depthwise(network: nn.Module) -> bool:
    """Whether it has convolutions in which each channel is filtered alone, as MobileNet and EfficientNet have."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return any(1 < one.groups == one.in_channels for one in convolutions)


def outputs_for(classes: tuple[str, ...]) -> int:
    """Number of logits for these classes."""
    return 1 if len(classes) == 2 else len(classes)


def probabilities(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """(N, 1) or (N, K) logits → (N, 2) or (N, K) probabilities in float64, on the CPU."""
    logits = logits.cpu().double() / temperature
    if logits.shape[1] == 1:
        positive = torch.sigmoid(logits)
        return torch.cat([1 - positive, positive], dim=1)
    return torch.softmax(logits, dim=1)


def check_probabilities(p: npt.NDArray[np.float64], name: str) -> None:
    """Raise FailedError if (N, K) probabilities of the model `name` are not finite, or a row does not sum to 1."""
    if not (np.abs(p.sum(axis=1) - 1) < 1e-6).all():  # NaN is not either
        raise FailedError(
            f"The model '{name}' gives an answer that is no probability (NaN or infinity). Its weights, its normalisation or "
            "its temperature are damaged, or the image has values that it cannot handle."
        )


def assemble(backbone: Backbone, head: HeadSpec, spec: Spec, classes: tuple[str, ...]) -> Model:
    """A model with a new head of the right size on `backbone`; `spec` holds the head's options.

    Raises:
        IncompatibleError: the network takes no images of this size, makes no feature maps, or not with the number of channels
            it declares.
    """
    try:
        ((channels, height, width),) = output_shapes(backbone, [backbone], backbone.input)
    except (RuntimeError, AssertionError, ValueError) as error:
        size, why = "×".join(map(str, backbone.input.size)), str(error).partition("\n")[0]
        raise IncompatibleError(
            f"The network cannot take images of {size} pixels: {why}. Give another size."
        ) from error
    if channels != backbone.channels:
        raise IncompatibleError(
            f"{type(backbone).__name__} declares {backbone.channels} channels and gives {channels}."
        )
    return Model(backbone, call(head.build, spec, channels, height, width, outputs_for(classes)), classes)


def has_folded_batch_norm(network: nn.Module) -> bool:
    """Whether all batch norms are folded into the convolutions (mean 0, and a shift): then their statistics mean nothing.

    Training with batch statistics would normalise away what was folded, so such a network keeps them frozen. While they are,
    the mean stays 0; weight and shift may learn. A new network has no shift.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return bool(norms) and all(
        norm.running_mean is not None
        and norm.bias is not None
        and not norm.running_mean.any()
        and bool(norm.bias.any())
        for norm in norms
    )
