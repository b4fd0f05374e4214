"""Class weights and the loss, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mammozoo.training.loss import Loss

CPU = torch.device("cpu")


def test_two_classes() -> None:
    """4 images, one of class 1: w = n / (K n_c) = 4/6 and 4/2."""
    labels = np.array([0, 0, 0, 1], np.intp)
    balanced = Loss(labels, 2, True, CPU)
    assert balanced.weights.tolist() == pytest.approx([2 / 3, 2.0])
    logits = torch.tensor([[0.3], [-1.0], [0.0], [0.7]])
    each = [np.log1p(np.exp(0.3)), np.log1p(np.exp(-1.0)), np.log(2.0), np.log1p(np.exp(-0.7))]
    by_hand = (2 / 3 * sum(each[:3]) + 2 * each[3]) / 4
    assert float(balanced(logits, torch.tensor(labels))) == pytest.approx(by_hand, rel=1e-6)
    plain = Loss(labels, 2, False, CPU)
    assert float(plain(logits, torch.tensor(labels))) == pytest.approx(sum(each) / 4, rel=1e-6)


def test_three_classes() -> None:
    loss = Loss(np.array([0, 0, 1, 2, 2, 2], np.intp), 3, True, CPU)
    assert loss.weights.tolist() == pytest.approx([1.0, 2.0, 2 / 3])
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    each = [-1 + np.log(np.e + 2), np.log(2 + np.e**2)]  # -log softmax of class 0, of class 1
    assert float(loss(logits, torch.tensor([0, 1]))) == pytest.approx((each[0] + 2 * each[1]) / 2, rel=1e-6)
