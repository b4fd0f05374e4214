"""Temperature scaling: one number, fitted on validation, so that probabilities agree with frequencies (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from mammozoo.models.model import probabilities

#: Without limits, a small validation part that is classified without error would give a temperature of zero.
LOWEST, HIGHEST = 0.5, 10.0


def fit_temperature(logits: torch.Tensor, labels: npt.NDArray[np.intp]) -> float:
    """The temperature with the smallest log loss of (N, outputs) logits on (N,) labels; 1 if the labels are of one class.

    The order of the probabilities within one model stays, so its AUC does not change; with two classes, 0.5 stays 0.5.
    """
    if len(np.unique(labels)) < 2:
        return 1.0
    classes = range(max(2, logits.shape[1]))

    def loss(log_temperature: float) -> float:
        p = probabilities(logits, float(np.exp(log_temperature)))
        return float(log_loss(labels, p.numpy(), labels=classes))

    optimum = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(optimum.x))
