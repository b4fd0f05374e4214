"""Where a network may be cut: nothing passes the cut point by, and training mode changes nothing before it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mammozoo import Backbone, HeadSpec, Input
from mammozoo.config.names import parse
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_strategy
from mammozoo.models.model import Model, assemble
from mammozoo.training.feature_cache.cut_point import find_cut_point, run_after, run_before

CPU = choose_engine("cpu", "fp32")


class Net(Backbone):
    """Three convolutions, a batch norm and dropout, connected by `flow`."""

    def __init__(self, flow: Callable[..., torch.Tensor]):
        super().__init__()
        self.channels, self.input, self.flow = 3, Input(size=(16, 16)), flow
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.2)
        self.gain = nn.Parameter(torch.zeros(1))
        self.count: torch.Tensor
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.flow(self, x)


def dense(channels: int, height: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, outputs))


def model_of(flow: Callable[[Net, torch.Tensor], torch.Tensor], *learns: str) -> Model:
    """A `Net` of which the named parts learn."""
    torch.manual_seed(0)
    net = Net(flow)
    model = assemble(net, HeadSpec("dense", "one dense layer", dense), parse("dense"), ("benign", "malignant"))
    build_strategy("frozen").freeze(model)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(learns) if learns else False)
    return CPU.place(model)


def counted(net: Net, x: torch.Tensor) -> torch.Tensor:
    if net.training:
        net.count += 1
    return net.c(net.b(net.a(x)))


@pytest.mark.parametrize(
    ("flow", "learns", "expected"),
    [
        (lambda n, x: n.c(n.b(n.a(x))), ["c"], "backbone.b"),
        (lambda n, x: n.c(n.b(n.a(x))), ["b"], "backbone.a"),
        (lambda n, x: n.c(n.b(n.a(x))), ["a"], None),
        # A skip around b: the output of b alone does not make the logits, nor that of a where x is added.
        (lambda n, x: n.c(n.b(y := n.a(x)) + y), ["c"], "backbone.a"),
        (lambda n, x: n.c(n.b(n.a(x)) + x), ["c"], None),
        # A branch from the image that is multiplied by zero now, and not after training.
        (lambda n, x: n.c(n.b(n.a(x))) + n.gain * x, ["c", "gain"], None),
        # A module used twice, before and after the cut.
        (lambda n, x: n.a(n.c(n.b(n.a(x)))), ["c"], "backbone.b"),
        # A parallel branch that learns and joins later.
        (lambda n, x: n.b(n.a(x)) + n.c(x), ["c"], None),
        # Training mode: dropout, dropout as a function, batch norm, noise, a counter.
        (lambda n, x: n.c(n.drop(n.b(n.a(x)))), ["c"], "backbone.b"),
        (lambda n, x: n.c(nn.functional.dropout(n.b(n.drop(n.a(x))), 0.1, n.training)), ["c"], "backbone.a"),
        (lambda n, x: n.c(n.norm(n.a(x))), ["c"], "backbone.norm"),  # frozen weights, so frozen statistics
        (lambda n, x: n.c(n.norm(n.a(x))), ["c", "norm"], "backbone.a"),
        (lambda n, x: n.c(n.b(n.a(x) + 0.01 * torch.rand(1) * n.training)), ["c"], "backbone.a"),
        (counted, ["c"], None),
        # Code between modules that looks at sizes: the placeholders need their full shape.
        (lambda n, x: n.c(n.b(n.a(x)[:, :, :8, 3:9].contiguous())), ["c"], "backbone.b"),
        (lambda n, x: n.c(n.b(n.a(x).reshape(len(x), 3, 8, 32))), ["c"], "backbone.b"),
    ],
)
def test_the_latest_place_that_loses_nothing(flow, learns: list[str], expected: str | None) -> None:
    cut = find_cut_point(model_of(flow, *learns), CPU)
    assert (None if cut is None else cut.name) == expected


def test_work_in_place_after_the_cut_point_does_not_reach_its_output() -> None:
    model = model_of(lambda n, x: n.c(nn.functional.relu_(n.a(x)).mul_(2)), "c").eval()
    cut = find_cut_point(model, CPU)
    assert cut.name == "backbone.a"
    images = torch.randn(5, 3, 16, 16)
    features = run_before(model, cut.name, images)
    assert torch.equal(features, model.backbone.a(images)) and bool((features < 0).any())  # type: ignore[operator]
    assert torch.equal(run_after(model, cut, features.clone()), model(images))
