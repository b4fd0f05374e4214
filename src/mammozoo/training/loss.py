"""The loss: cross-entropy, weighted so that a rare class counts as much as a common one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F


class Loss:
    """Mean over a batch of w[label] · cross-entropy; two classes use the binary form on one logit.

    Balanced weights are n / (K · n_c), as in Byra 2021 ("inversely proportional to class frequencies") and
    scikit-learn's `class_weight="balanced"`.
    """

    def __init__(self, labels: npt.NDArray[np.intp], classes: int, balanced: bool, device: torch.device):
        counts = np.bincount(labels, minlength=classes)
        weights = len(labels) / (classes * np.maximum(counts, 1)) if balanced else np.ones(classes)
        self.weights = torch.tensor(weights, dtype=torch.float32, device=device)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, outputs) logits, (N,) labels → scalar."""
        if logits.shape[1] == 1:
            each = F.binary_cross_entropy_with_logits(logits[:, 0], labels.float(), reduction="none")
        else:
            each = F.cross_entropy(logits, labels, reduction="none")
        return (each * self.weights[labels]).mean()
