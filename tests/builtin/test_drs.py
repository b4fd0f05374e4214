"""Deep representation scaling, against the numbers and equations of Byra 2021."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from mammozoo.errors import IncompatibleError
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo_drs.drs import DrsLayer, layers
from mammozoo_drs.norm import LeanBatchNorm2d, lean
from mammozoo_drs.norm_timm import LeanBatchNormAct2d

from ..helpers import network
from .drs_exactness import layer_for, plain

CLASSES = ("benign", "malignant")


def build(name: str, strategy: str, size: int) -> Model:
    return network(name, strategy, size=size)[0]


def random_layer(channels: int = 3, height: int = 4, width: int = 5) -> DrsLayer:
    return layer_for((1, channels, height, width)).double()


def test_resnet101_has_the_papers_numbers() -> None:
    model = build("resnet101", "drs", 224)
    found = layers(model)
    assert len(found) == 33
    assert sum(p.numel() for layer in found for p in layer.parameters()) == 99_422
    assert model.parameter_counts()["head"] == 2_049
    assert model.parameter_counts()["trainable"] == 101_471
    stages = [(256, 56)] * 3 + [(512, 28)] * 4 + [(1024, 14)] * 23 + [(2048, 7)] * 3
    assert [(layer.depth_weight.shape[1], layer.spatial_weight.shape[2]) for layer in found] == stages


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_100", "resnet9:width=8"])
def test_identity_at_the_start_and_lean_norms_change_no_gradient(name: str) -> None:
    frozen, drs = build(name, "frozen", 64).eval(), build(name, "drs", 64).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = frozen(images), drs(images)
        assert torch.equal(expected, found)
        layers(drs)[0].depth_bias.add_(0.5)
        assert not torch.equal(expected, drs(images)), "the layers act on the data"
    model = build(name, "drs", 64).train()
    usual = copy.deepcopy(model)
    back: dict[type[nn.Module], type[nn.Module]] = {LeanBatchNorm2d: nn.BatchNorm2d, LeanBatchNormAct2d: BatchNormAct2d}
    turned = [module for module in usual.modules() if type(module) in back]
    assert len(turned) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for module in turned:
        module.__class__ = back[type(module)]
    results = []
    for one in (model, usual):
        logits = one(images)
        learning = [parameter for parameter in one.parameters() if parameter.requires_grad]
        results.append([logits, *torch.autograd.grad(logits.sum(), learning)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.detach().abs().max()))


def test_layers_precede_the_last_activation_at_one_input_size() -> None:
    """With a large negative bias everywhere, a ReLU behind the layer gives zeros; without one the bias would show."""
    model = build("test_resnet", "drs", 64).eval()
    with torch.no_grad():
        layers(model)[-1].depth_bias.fill_(-1e6)
        assert torch.equal(model.backbone(torch.randn(1, 3, 64, 64)), torch.zeros(1, 96, 2, 2))
    for shape in ((3, 5, 5), (1, 4, 4), (3, 1, 1)):  # the last two would broadcast
        with pytest.raises(IncompatibleError, match="input size"):
            DrsLayer(3, 4, 4)(torch.zeros(1, *shape))
    with pytest.raises(IncompatibleError, match="input size"):
        build("test_resnet", "drs", 64).eval()(torch.zeros(1, 3, 96, 96))


def saved_shapes(module: nn.Module, x: torch.Tensor) -> list[tuple[int, ...]]:
    """The tensors with a batch dimension that autograd keeps for the backward pass."""
    shapes: list[tuple[int, ...]] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    return [shape for shape in shapes if shape[:1] == x.shape[:1] and len(shape) == x.ndim]


def test_only_y_is_kept_and_activations_and_function_transforms_are_served() -> None:
    layer, y = random_layer(), torch.randn(7, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert saved_shapes(layer, y) == [(7, 3, 4, 5)]
    expected = torch.autograd.grad(plain(layer, y).square().sum(), y)[0]
    layer.requires_grad_(False)
    assert saved_shapes(layer, y) == []
    torch.testing.assert_close(torch.autograd.grad(layer(y).square().sum(), y)[0], expected)
    layer, y = random_layer(), torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(torch.relu_(layer(y)).sum(), y)[0]
    torch.testing.assert_close(found, torch.autograd.grad(torch.relu(plain(layer, y)).sum(), y)[0])
    layer, y = random_layer(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    found = torch.func.grad(lambda y: layer(y).square().sum())(y)
    torch.testing.assert_close(found, torch.func.grad(lambda y: plain(layer, y).square().sum())(y))


def test_a_frozen_norm_keeps_nothing_and_one_that_learns_is_as_before() -> None:
    norm, usual = lean(nn.BatchNorm2d(3)), nn.BatchNorm2d(3)
    assert isinstance(norm, LeanBatchNorm2d)
    x = torch.randn(7, 3, 4, 4, requires_grad=True)
    torch.testing.assert_close(norm(x), usual(x))
    assert torch.equal(norm.running_var, usual.running_var) and not torch.equal(norm.running_var, torch.ones(3))
    norm.requires_grad_(False)
    assert saved_shapes(norm, x) == [(7, 3, 4, 4)], "statistics of the batch are in use"
    assert saved_shapes(norm.eval(), x) == []
    assert torch.autograd.gradcheck(norm.double(), (x.detach().double().requires_grad_(),))
    norm.weight.requires_grad_()
    assert saved_shapes(norm, x.double()) == [(7, 3, 4, 4)]


def test_each_layer_adds_four_tensors_with_a_rate_of_their_own() -> None:
    own = {name: tuple(tensor.shape) for name, tensor in build("test_resnet", "drs", 64).state_dict().items()}
    frozen = {name: tuple(tensor.shape) for name, tensor in build("test_resnet", "frozen", 64).state_dict().items()}
    assert frozen.items() <= own.items()
    layer = "backbone.net.layer1.0.act2.0."
    parameters = {name.removeprefix(layer) for name in own.keys() - frozen.keys() if name.startswith(layer)}
    assert parameters == {"spatial_weight", "spatial_bias", "depth_weight", "depth_bias"}
    backbone = build_backbone("test_resnet")
    model, strategy = build_model(backbone, "drs:rate=0.1", "gap", CLASSES, backbone.input)
    fast, slow = strategy.parameter_groups(model, 1e-2)
    assert (fast["lr"], slow["lr"]) == (1e-2, pytest.approx(1e-3))
    assert fast["params"] == list(model.head.parameters())
    assert slow["params"] == [p for layer in layers(model) for p in layer.parameters()]
