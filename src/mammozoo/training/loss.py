"""The loss: weighted so that a rare class counts as much as a common one; cross-entropy unless the recipe names another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from mammozoo.config.names import call, parse
from mammozoo.config.sections import Methods
from mammozoo.plugins import registry

#: (N, outputs) logits, and (N,) labels or (N, K) shares of the classes → (N,) losses.
EachLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class LossSpec:
    """A loss by name: `build(**options)` gives a function of (N, outputs) logits and (N,) int64 labels → (N,) losses.

    Attributes:
        soft: the function also takes (N, K) shares of the classes instead of labels, as mixup and label smoothing make them.
    """

    name: str
    summary: str
    build: Callable[..., EachLoss]
    soft: bool = False


class Loss:
    """Mean over a batch of w[label] · loss; called, it is that of cross-entropy, by which epochs are compared.

    Balanced weights are n / (K · n_c), as in Byra 2021 ("inversely proportional to class frequencies") and
    scikit-learn's `class_weight="balanced"`.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.intp],
        classes: int,
        balanced: bool,
        device: torch.device,
        methods: Methods | None = None,
    ):
        counts = np.bincount(labels, minlength=classes)
        weights = len(labels) / (classes * np.maximum(counts, 1)) if balanced else np.ones(classes)
        self.weights = torch.tensor(weights, dtype=torch.float32, device=device)
        methods = methods or Methods()
        self.smoothing, spec = methods.label_smoothing, parse(methods.loss)
        self.each: EachLoss = call(registry().get("losses", spec.name).build, spec)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N, outputs) logits, (N,) labels → scalar."""
        return (cross_entropy(logits, labels) * self.weights[labels]).mean()

    def of_training(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(N, outputs) logits, (N,) labels or (N, K) shares of the classes → scalar, by the recipe's own loss."""
        weights = self.weights[targets] if targets.ndim == 1 else targets @ self.weights
        if self.smoothing:
            classes = len(self.weights)
            shares = F.one_hot(targets, classes).float() if targets.ndim == 1 else targets
            targets = shares * (1 - self.smoothing) + self.smoothing / classes
        return (self.each(logits, targets) * weights).mean()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N, outputs) logits, (N,) labels or (N, K) shares → (N,) losses; two classes use the binary form on one logit."""
    if logits.shape[1] > 1:
        return F.cross_entropy(logits, targets, reduction="none")
    positive = targets.float() if targets.ndim == 1 else targets[:, 1]
    return F.binary_cross_entropy_with_logits(logits[:, 0], positive, reduction="none")
