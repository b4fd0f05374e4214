"""Test-time augmentation: the answer for an image is the mean of the probabilities for it and for its mirror image."""

from __future__ import annotations

import torch
from torch import nn

from mammozoo.config.names import parse
from mammozoo.errors import UsageError
from mammozoo.models.config import ModelConfig
from mammozoo.models.ensemble import Ensemble, logits_of
from mammozoo.models.model import Model, probabilities

TTA = ("flip",)
MIRROR_NOTE = (
    "Each answer is the mean over an image and its mirror image; threshold and temperature were chosen without that."
)


class Mirrored(Model):
    """(N, C, H, W) normalised images → (N, outputs) float32 logits of the mean probability of each and its mirror image.

    The mean is one of calibrated probabilities; `temperature` is that by which the caller divides the logits.
    """

    def __init__(self, inner: Model, temperature: float):
        nn.Module.__init__(self)
        self.inner, self.temperature = inner, temperature
        self.classes, self.layout = inner.classes, inner.layout

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits; those of two classes are one."""
        self.inner.layout = self.layout
        both = [probabilities(self.inner(one), self.temperature) for one in (images, images.flip(-1))]
        return self.temperature * logits_of(torch.stack(both).mean(0)).to(images.device)

    def train(self, mode: bool = True) -> Mirrored:
        """It is not trained; the model in it is."""
        nn.Module.train(self, mode)
        return self


def augmented(model: Model, config: ModelConfig, tta: str | None) -> Model:
    """The model, or with `tta` (one of `TTA`) the one that averages over what its training has shown it too.

    Raises:
        UsageError: another word, or the model was trained without such images.
    """
    if tta is None:
        return model
    if tta not in TTA:
        raise UsageError(f"--tta is {' or '.join(TTA)}, not '{tta}'.")
    if "hflip" not in {parse(text).name for text in config.training.augment}:
        raise UsageError(
            f"--tta flip asks the model '{config.name}' about mirror images, and its training had none (no `hflip` in `augment`, "
            "or it was trained before mammozoo 0.2, which did not record it). Leave --tta out."
        )
    if isinstance(model, Ensemble):
        pairs = zip(model.models, model.temperatures, strict=True)
        return Ensemble([Mirrored(member, temperature) for member, temperature in pairs], model.temperatures)
    return Mirrored(model, config.temperature)
