"""The optimizer that a phase names, and the learning rates of each schedule."""

import warnings
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from mammozoo.config.sections import Phase, Schedule
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.training.loss import Loss
from mammozoo.training.optimizer import make_optimizer, make_scheduler, step_scheduler
from mammozoo.training.validation import Monitor

from ..helpers import network, python

KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}


@pytest.mark.parametrize("name", KINDS)
def test_a_step_is_torchs(name: str) -> None:
    """And schedules, which count the steps, see it."""
    ours, theirs = network(strategy="full"), network(strategy="full")
    phase = Phase.model_validate({"name": name, "lr": 0.02, "weight_decay": 0.1, "momentum": 0.7, "epochs": 2})
    mine = make_optimizer(ours[1], ours[0], phase)
    keys = {"lr": 0.02, "weight_decay": 0.1} | ({"momentum": 0.7} if name in ("sgd", "rmsprop") else {})
    other = KINDS[name](theirs[1].parameter_groups(theirs[0], 0.02), **keys)
    schedule = make_scheduler(mine, Schedule(kind="cosine"), phase)
    for (model, _), optimizer in ((ours, mine), (theirs, other)):
        for seed in (1, 2):
            for place, parameter in enumerate(model.parameters()):
                parameter.grad = torch.full_like(parameter, 0.01 * (place % 7) - 0.02 * seed)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours[0].parameters(), theirs[0].parameters(), strict=True))
    assert not any(parameter.grad_fn for parameter in ours[0].parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedule is not None
        schedule.step()
    mine.zero_grad()
    assert mine.state_dict()["state"].keys() == other.state_dict()["state"].keys()


def test_a_training_does_not_import_dynamo(tmp_path) -> None:
    """Which takes longer than torch itself."""
    code = (
        "import sys; from mammozoo import train; keys = {'optimizer.name': sys.argv[1], 'schedule.kind': 'cosine'}\n"
        "train(dataset='phantom:n=24', backbone='test_resnet', weights='random', size=32, epochs=1, device='cpu', "
        "out=sys.argv[2], **keys)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    assert python("-c", code, "adamw", tmp_path / "run").ok


@pytest.mark.parametrize(
    ("name", "kind"),
    KINDS.items(),
)
def test_settings_reach_the_optimizer(name: str, kind: type[torch.optim.Optimizer]) -> None:
    model, strategy = network(strategy="last-blocks:1")
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
    ("kind", "options", "rates"),
    [
        ("constant", {}, [0.01, 0.01, 0.01, 0.01]),
        ("exponential", {"factor": 0.5}, [0.01, 0.005, 0.0025, 0.00125]),
        ("cosine", {}, [0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.01 * (2 - 2**0.5) / 4]),
        ("plateau", {"factor": 0.1, "patience": 0}, [0.01, 0.01, 0.001, 0.001]),
        ("constant", {"warmup": 1}, [0.005, 0.01, 0.01, 0.01]),
        ("cosine", {"warmup": 2}, [0.01 / 3, 0.02 / 3, 0.01, 0.005]),
        ("exponential", {"factor": 0.5, "warmup": 1}, [0.005, 0.01, 0.005, 0.0025]),
    ],
)
def test_rates_of_a_schedule(kind: str, options: dict[str, Any], rates: list[float]) -> None:
    """Four epochs; in the second and the last the validation value does not rise."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.01)
    scheduler = make_scheduler(optimizer, Schedule(kind=kind, **options), Phase(epochs=4))
    found = []
    for value in (0.5, 0.4, 0.6, 0.6):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        step_scheduler(scheduler, value)
    assert found == pytest.approx(rates)


# ---------------------------------------------------------------- the monitored value

LOGITS, LABELS = torch.tensor([[2.0], [-1.0], [0.0], [1.0]]), np.array([1, 0, 1, 0], np.intp)


@pytest.mark.parametrize(("name", "sign"), [("loss", -1), ("auc", 1), ("brier", -1)])
def test_the_direction_is_that_of_the_metric(name: str, sign: int) -> None:
    assert Monitor(name).sign == sign


def test_the_monitored_value_by_hand_and_what_is_refused() -> None:
    p = 1 / (1 + np.exp(-np.array([2.0, -1.0, 0.0, 1.0])))
    expected = {"loss": 0.25, "auc": 0.75, "brier": float(np.mean((p - LABELS) ** 2))}
    for name, value in expected.items():
        assert Monitor(name).value(0.25, LOGITS, LABELS, ("benign", "malignant")) == pytest.approx(value), name
    assert np.isnan(Monitor("auc").value(float("nan"), LOGITS, LABELS, ("benign", "malignant")))
    three = cast(Any, SimpleNamespace(classes=("a", "b", "c")))
    Monitor("auc").check(three)
    Monitor("loss").check(three)
    with pytest.raises(UsageError, match=r"sensitivity.*two classes"):
        Monitor("sensitivity").check(three)
    with pytest.raises(NotFoundError, match="'auc'"):
        Monitor("auk")


# ---------------------------------------------------------------- class weights and the loss, by hand

CPU = torch.device("cpu")


def test_class_weights_and_losses_by_hand() -> None:
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
    loss = Loss(np.array([0, 0, 1, 2, 2, 2], np.intp), 3, True, CPU)
    assert loss.weights.tolist() == pytest.approx([1.0, 2.0, 2 / 3])
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    each = [-1 + np.log(np.e + 2), np.log(2 + np.e**2)]  # -log softmax of class 0, of class 1
    assert float(loss(logits, torch.tensor([0, 1]))) == pytest.approx((each[0] + 2 * each[1]) / 2, rel=1e-6)
