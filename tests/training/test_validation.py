"""The monitored value: its direction, its number, and the metrics that a data set cannot have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from mammozoo.errors import NotFoundError, UsageError
from mammozoo.training.validation import Monitor

LOGITS, LABELS = torch.tensor([[2.0], [-1.0], [0.0], [1.0]]), np.array([1, 0, 1, 0], np.intp)


@pytest.mark.parametrize(("name", "sign"), [("loss", -1), ("auc", 1), ("brier", -1)])
def test_the_direction_is_that_of_the_metric(name: str, sign: int) -> None:
    assert Monitor(name).sign == sign


def test_values_by_hand() -> None:
    """Three of four pairs are in order; a Brier score is the mean squared error of the probabilities."""
    p = 1 / (1 + np.exp(-np.array([2.0, -1.0, 0.0, 1.0])))
    expected = {"loss": 0.25, "auc": 0.75, "brier": float(np.mean((p - LABELS) ** 2))}
    for name, value in expected.items():
        assert Monitor(name).value(0.25, LOGITS, LABELS, ("benign", "malignant")) == pytest.approx(value), name


def test_a_loss_that_is_not_finite_is_never_hidden_behind_a_metric() -> None:
    assert np.isnan(Monitor("auc").value(float("nan"), LOGITS, LABELS, ("benign", "malignant")))


def test_a_metric_of_two_classes_is_refused_for_three() -> None:
    three = cast(Any, SimpleNamespace(classes=("a", "b", "c")))
    Monitor("auc").check(three)
    Monitor("loss").check(three)
    with pytest.raises(UsageError, match=r"sensitivity.*two classes"):
        Monitor("sensitivity").check(three)


def test_an_unknown_metric_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="'auc'"):
        Monitor("auk")
