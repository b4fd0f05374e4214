"""Losses: cross-entropy, and the focal loss of Lin 2017, which counts images little that the network has learnt already."""

from __future__ import annotations

import torch

from mammozoo import LossSpec, UsageError
from mammozoo.training.loss import EachLoss, cross_entropy


def focal(gamma: float = 2.0) -> EachLoss:
    """Cross-entropy times (1 − p)^gamma, p being the probability of the image's class; gamma from 0.5 to 10."""
    if not 0.5 <= gamma <= 10:
        raise UsageError(f"focal: gamma is from 0.5 to 10, not {gamma:g}.")

    def each(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        entropy = cross_entropy(logits, labels)
        return (-torch.expm1(-entropy)).clamp_min(1e-6) ** gamma * entropy

    return each


LOSSES = [
    LossSpec("cross-entropy", "cross-entropy; of two classes the binary one", build=lambda: cross_entropy, soft=True),
    LossSpec("focal", "focal loss, gamma=2: images that are learnt already count little", build=focal),
]
