"""Steps that are replayed: what comes out is that of steps taken piece by piece, and who cannot be replayed is not.

There is no card here, so the graph is a stand-in that keeps a real graph's contract: its inputs and gradients stay at
their place in memory. `tests/gpu` has the real one.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mammozoo.models.device import Engine
from mammozoo.training import step
from mammozoo.training.step import Step

CPU = Engine(torch.device("cpu"), torch.float32)


class Graph:
    """Records by working once, for the places of the gradients, and works again when it is replayed."""

    calls = 0

    def __init__(
        self, work: Callable[..., torch.Tensor], batch: Sequence[torch.Tensor], parameters: Sequence[nn.Parameter]
    ):
        self.work, self.parameters = work, parameters
        self.batch = [tensor.clone() for tensor in batch]
        self.gradients = [torch.zeros_like(parameter) for parameter in parameters]

    def __call__(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        Graph.calls += 1
        for own, given in zip(self.batch, batch, strict=True):
            own.copy_(given)
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient.zero_()
        return self.work(self.batch)


class Restless(nn.Module):
    """Draws from a generator of the processor."""

    def __init__(self, draw: Callable[[], object]):
        super().__init__()
        self.draw = draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.draw()
        return x


def trained(replayed: int, middle: nn.Module | None = None) -> tuple[list[torch.Tensor], list[float], Step]:
    """Tensors of a network with batch norm and dropout after steps on batches of 8, 8, 3 and 8, their losses, and the step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), middle or nn.Dropout(0.3), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    taken = Step(model, cross_entropy, model, CPU)
    taken.full = replayed
    losses = []
    for n in (8, 8, 3, 8):
        batch = torch.randn(n, 5, generator=torch.Generator().manual_seed(n)), torch.arange(n) % 2
        losses.append(float(taken(optimizer, batch)))
    return [*model.state_dict().values()], losses, taken


def test_replayed_steps_are_those_taken_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "_Graph", Graph)
    # Dropout draws from the processor here, as it does from the card there.
    monkeypatch.setattr(step, "_processor_state", lambda: None)
    monkeypatch.setattr(Graph, "calls", 0)
    plain, losses, _ = trained(0)
    assert Graph.calls == 0
    replayed, again, _ = trained(8)
    assert Graph.calls == 3
    assert losses == again and all(map(torch.equal, plain, replayed))


@pytest.mark.parametrize(
    "draw", [random.random, np.random.random, lambda: torch.rand(1)], ids=["random", "numpy", "torch"]
)
def test_what_draws_from_the_processor_is_not_replayed(
    draw: Callable[[], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A graph would repeat what was drawn when it was recorded."""
    monkeypatch.setattr(step, "_Graph", Graph)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    caplog.set_level(logging.INFO, "mammozoo")
    _, _, taken = trained(8, Restless(draw))
    assert taken.graph is None and "draws from a generator of the processor" in caplog.text


def test_a_recording_that_fails_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(step, "_processor_state", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(step, "_Graph", refuse)
    caplog.set_level(logging.INFO, "mammozoo")
    plain, losses, _ = trained(0)
    tried, again, _ = trained(8)
    assert losses == again and all(map(torch.equal, plain, tried))
    assert caplog.text.count("not replayed from a CUDA graph: operation not permitted") == 1


def test_nothing_is_recorded_without_a_card() -> None:
    model = nn.Linear(2, 1)
    assert Step(model, cross_entropy, model, CPU, full=8).full == 0
