"""Exponentially decaying learning rates: every layer learns, the deeper the faster.

Chougrad, Zouaki, Alheyane, "Convolutional Neural Networks for Breast Cancer Screening: Transfer Learning with
Exponential Decay", NIPS 2017 workshop on machine learning for health (arXiv 1711.10752):

    t_l = t_0 · exp(−λ · l)        l counted from the output backwards; t_0 = 1e-3, the deepest layer's own rate

The first layers of a network know edges and textures and need little change, the last ones are specific to the old task.
The paper has "λ set to −3 and l the number of layers". With that sign the rates would grow towards the input, against its
text, so λ is 3 here. In whole layers the fourth of Inception-v3's 94 would have a ten-thousandth of the rate, and the ones
before it none to speak of; so l is by default a share of the depth:

    per=depth   l = i / (L − 1), i = 0 for the deepest of L layers: rates from t_0 down to t_0 · e^−λ (0.05 · t_0)
    per=layer   l = i, the paper's words
    per=block   l = i, counting blocks
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from torch import nn

from mammozoo import Model, Strategy
from mammozoo.errors import UsageError

Per = Literal["depth", "layer", "block"]


class ExpDecay(Strategy):
    """Fine-tuning of everything, with a learning rate that falls exponentially from the deepest layer to the first."""

    name = "expdecay"

    def __init__(self, lam: float = 3.0, per: Per = "depth"):
        """`lam` is λ, 0 or more; `per` says what l counts."""
        if not 0 <= lam < math.inf:
            raise UsageError(f"expdecay: lam is 0 or more, not {lam:g}: rates fall from the output towards the input.")
        self.lam, self.per = lam, per

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """All of the backbone."""
        return model.backbone.parameters()

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        """exp(−λ · l) for every parameter of the backbone; the head keeps t_0."""
        groups = model.backbone.groups("block" if self.per == "block" else "layer")
        factors = decay(len(groups), self.lam, relative=self.per == "depth")
        return {p: factor for group, factor in zip(groups, factors, strict=True) for p in group.parameters}


def decay(count: int, lam: float, *, relative: bool) -> list[float]:
    """(count,) factors exp(−λ · l) in forward order; l is the distance to the last, as a share of the longest if `relative`."""
    longest = max(count - 1, 1) if relative else 1
    return [math.exp(-lam * (count - 1 - place) / longest) for place in range(count)]
