"""The optimizer that a phase names, and the learning rates of each schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mammozoo.config.sections import Phase, Schedule
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.training.optimizer import make_optimizer, make_scheduler, step_scheduler


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_settings_reach_the_optimizer(name: str, kind: type[torch.optim.Optimizer]) -> None:
    backbone = build_backbone("test_resnet")
    model, strategy = build_model(backbone, "last-blocks:1", "gap", ("a", "b"), backbone.input)
    phase = {"name": name, "lr": 0.02, "weight_decay": 0.1, "momentum": 0.7, "beta1": 0.8, "epochs": 1}
    optimizer = make_optimizer(strategy, model, Phase.model_validate(phase))
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert (group["lr"], group["weight_decay"]) == (0.02, 0.1)
        assert group.get("momentum", 0.7) == 0.7
        assert group.get("betas", (0.8, 0.999)) == (0.8, 0.999)
    optimized = {p for group in optimizer.param_groups for p in group["params"]}
    assert optimized == {p for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"kind": "constant"}, [0.01, 0.01, 0.01, 0.01]),
        ({"kind": "exponential", "factor": 0.5}, [0.01, 0.005, 0.0025, 0.00125]),
        ({"kind": "cosine"}, [0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.01 * (2 - 2**0.5) / 4]),
        ({"kind": "plateau", "factor": 0.1, "patience": 0}, [0.01, 0.01, 0.001, 0.001]),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_rates_of_a_schedule(schedule: dict[str, Any], rates: list[float]) -> None:
    """Four epochs; in the second and the last the validation value does not rise."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.01)
    scheduler = make_scheduler(optimizer, Schedule.model_validate(schedule), Phase(epochs=4))
    found = []
    for value in (0.5, 0.4, 0.6, 0.6):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        step_scheduler(scheduler, value)
    assert found == pytest.approx(rates)
