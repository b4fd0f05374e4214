"""Temperature scaling: it finds the temperature that was put in, and never changes an order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mammozoo.evaluation.thresholds import HIGHEST, LOWEST, fit_temperature
from mammozoo.models.model import probabilities


def overconfident(n: int, outputs: int, times: float) -> tuple[torch.Tensor, np.ndarray]:
    """Logits that are `times` what the labels were drawn from."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 1.5, (n, outputs)))
    p = probabilities(logits).numpy()
    labels = (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(1)
    return logits * times, labels


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("times", [0.7, 3.0])
def test_it_finds_what_was_put_in(outputs: int, times: float) -> None:
    logits, labels = overconfident(4000, outputs, times)
    assert fit_temperature(logits, labels) == pytest.approx(times, rel=0.08)


def test_no_other_temperature_is_better() -> None:
    logits, labels = overconfident(300, 1, 2.0)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return log_loss(labels, probabilities(logits, temperature).numpy())

    assert loss(found) <= min(loss(t) for t in np.linspace(LOWEST, HIGHEST, 200)) + 1e-6


def test_an_order_stays_and_a_half_stays() -> None:
    logits = torch.tensor([[-3.0], [0.0], [0.5], [9.0]])
    p = probabilities(logits, 4.0)[:, 1]
    assert p[1] == 0.5 and (p.diff() > 0).all()


def test_few_and_easy_images_do_not_run_away() -> None:
    logits = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
    assert fit_temperature(logits, np.array([0, 0, 1, 1])) == pytest.approx(LOWEST, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 1, 0, 0])) == pytest.approx(HIGHEST, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 1, 1, 1])) == 1.0
