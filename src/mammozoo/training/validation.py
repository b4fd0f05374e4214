"""What decides which epoch is best: the validation loss, or a metric."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.data.loaded import Data
from mammozoo.errors import UsageError
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.models.model import probabilities
from mammozoo.plugins import registry


class Monitor:
    """The monitored value by name, `loss` or a metric."""

    def __init__(self, name: str):
        """Raises NotFoundError for an unknown metric."""
        self.name = name
        self.metric: Metric | None = None if name == "loss" else registry().get("metrics", name)

    @property
    def sign(self) -> int:
        """1 if a higher value is better, −1 if a lower one is, as for the loss."""
        return 1 if self.metric is not None and self.metric.higher_is_better else -1

    def check(self, data: Data) -> None:
        """Raise UsageError if the data set has more classes than the metric can score."""
        if self.metric is not None and self.name not in self.metric.keys(data.classes):
            raise UsageError(
                f"`monitor: {self.name}` is a score of two classes, and there are {len(data.classes)}. Say loss, auc or "
                "balanced-accuracy."
            )

    def value(self, loss: float, logits: torch.Tensor, labels: npt.NDArray[np.intp], classes: tuple[str, ...]) -> float:
        """The value of one epoch, from its validation loss, (N, outputs) logits and (N,) labels."""
        if self.metric is None or not np.isfinite(loss):
            return loss
        p = probabilities(logits).numpy()
        return self.metric.value(Outcome(classes, labels, p, decide(p, 0.5), np.arange(len(p))))
