"""Deep representation scaling, against the numbers and equations of Byra 2021."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from mammozoo.config.recipe import load
from mammozoo.errors import IncompatibleError
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo.training.prepare import prepare
from mammozoo.training.trainer import Trainer, TrainingData
from mammozoo_drs.drs import DrsLayer, layers
from mammozoo_drs.norm import LeanBatchNorm2d, lean
from mammozoo_drs.norm_timm import LeanBatchNormAct2d

CLASSES = ("benign", "malignant")
FORMATS = [torch.contiguous_format, torch.channels_last]


def build(name: str, strategy: str, size: int) -> Model:
    """The same random weights for every strategy."""
    torch.manual_seed(0)
    backbone = build_backbone(name)
    input = backbone.input.model_copy(update={"size": (size, size)})
    return build_model(backbone, strategy, "gap", CLASSES, input)[0]


def random_layer(channels: int = 3, height: int = 4, width: int = 5) -> DrsLayer:
    layer = DrsLayer(channels, height, width).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


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
def test_identity_at_the_start(name: str) -> None:
    frozen, drs = build(name, "frozen", 64).eval(), build(name, "drs", 64).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = frozen(images), drs(images)
        assert torch.equal(expected, found)
        layers(drs)[0].depth_bias.add_(0.5)
        assert not torch.equal(expected, drs(images)), "the layers are in the way of the data"


def test_layers_stand_before_the_last_activation() -> None:
    """With a large negative bias everywhere, a ReLU behind the layer gives zeros; without one the bias would show."""
    model = build("test_resnet", "drs", 64).eval()
    with torch.no_grad():
        layers(model)[-1].depth_bias.fill_(-1e6)
        assert torch.equal(model.backbone(torch.randn(1, 3, 64, 64)), torch.zeros(1, 96, 2, 2))


def plain(layer: DrsLayer, y: torch.Tensor) -> torch.Tensor:
    """The two equations one after the other."""
    return layer.depth_weight * (layer.spatial_weight * y + layer.spatial_bias) + layer.depth_bias


def saved_shapes(module: nn.Module, x: torch.Tensor) -> list[tuple[int, ...]]:
    """The tensors with a batch dimension that autograd keeps for the backward pass."""
    shapes: list[tuple[int, ...]] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    return [shape for shape in shapes if shape[:1] == x.shape[:1] and len(shape) == x.ndim]


@pytest.mark.parametrize("learns", [True, False], ids=["training", "no-grad"])
@pytest.mark.parametrize("format", FORMATS)
def test_layer_is_the_formula(format: torch.memory_format, learns: bool) -> None:
    layer, y = random_layer(), torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=format)
    with torch.set_grad_enabled(learns):
        out = layer(y)
    assert out.stride() == y.stride()
    for n, k, i, j in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        spatial = layer.spatial_weight[0, 0, i, j] * y[n, k, i, j] + layer.spatial_bias[0, 0, i, j]
        expected = layer.depth_weight[0, k, 0, 0] * spatial + layer.depth_bias[0, k, 0, 0]
        torch.testing.assert_close(out[n, k, i, j], expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("format", FORMATS)
def test_gradients(format: torch.memory_format) -> None:
    layer = random_layer(2, 2, 3)
    names = [name for name, _ in layer.named_parameters()]

    def apply(y: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (y,))

    y = torch.randn(2, 2, 2, 3, dtype=torch.float64).to(memory_format=format).requires_grad_()
    assert torch.autograd.gradcheck(apply, (y, *layer.parameters()))


def test_gradients_of_a_strided_view_and_an_expanded_gradient() -> None:
    """Neither lies in memory as one of the two formats."""
    layer = random_layer(4, 3, 3)
    wide = torch.randn(2, 4, 3, 6, dtype=torch.float64, requires_grad=True)
    y, wanted = wide[..., ::2], [wide, *layer.parameters()]
    found = torch.autograd.grad(layer(y).sum(), wanted)
    expected = torch.autograd.grad(plain(layer, y).sum(), wanted)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "of_y", "of_parameters"),
    [(torch.float32, 1e-6, 1e-6), (torch.bfloat16, 3e-3, 1e-6)],
    ids=["fp32", "bf16"],
)
def test_gradients_are_as_exact_as_the_dtype(dtype: torch.dtype, of_y: float, of_parameters: float) -> None:
    """Relative errors (2-norm) against float64. In bfloat16 results are rounded once (2⁻⁹ at most), and sums not at all."""
    exact = random_layer(32, 14, 14)
    layer = copy.deepcopy(exact).float()
    exact.load_state_dict(layer.state_dict())
    y = torch.randn(8, 32, 14, 14).to(dtype, memory_format=torch.channels_last).requires_grad_()
    g = torch.randn(8, 32, 14, 14).to(dtype, memory_format=torch.channels_last)
    y64 = y.detach().double().requires_grad_()

    def errors(z: torch.Tensor) -> list[float]:
        z64 = plain(exact, y64)
        found = [z, *torch.autograd.grad(z, [y, *layer.parameters()], g)]
        expected = [z64, *torch.autograd.grad(z64, [y64, *exact.parameters()], g.double())]
        return [float((a - b).detach().norm() / b.detach().norm()) for a, b in zip(found, expected, strict=True)]

    ours = errors(layer(y))
    assert max(ours[:2]) < of_y
    assert max(ours[2:]) < of_parameters
    if dtype == torch.bfloat16:  # the layer with its parameters rounded to bfloat16, as it was
        cast = [p.to(dtype) for p in layer.parameters()]
        before = errors(torch.addcmul(cast[3], cast[2], torch.addcmul(cast[1], cast[0], y)))
        assert all(new < old for new, old in zip(ours, before, strict=True))


def test_only_y_is_kept_and_only_for_the_parameters() -> None:
    layer, y = random_layer(), torch.randn(7, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert saved_shapes(layer, y) == [(7, 3, 4, 5)]
    expected = torch.autograd.grad(plain(layer, y).square().sum(), y)[0]
    layer.requires_grad_(False)
    assert saved_shapes(layer, y) == []
    torch.testing.assert_close(torch.autograd.grad(layer(y).square().sum(), y)[0], expected)


def test_first_layer_of_a_network_needs_no_gradient_of_its_input() -> None:
    layer, y = random_layer(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    found = torch.autograd.grad(layer(y).square().sum(), list(layer.parameters()))
    expected = torch.autograd.grad(plain(layer, y).square().sum(), list(layer.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_an_activation_may_work_in_place_on_the_result() -> None:
    layer, y = random_layer(), torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(torch.relu_(layer(y)).sum(), y)[0]
    torch.testing.assert_close(found, torch.autograd.grad(torch.relu(plain(layer, y)).sum(), y)[0])


def test_function_transforms() -> None:
    layer, y = random_layer(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    found = torch.func.grad(lambda y: layer(y).square().sum())(y)
    torch.testing.assert_close(found, torch.func.grad(lambda y: plain(layer, y).square().sum())(y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_in_is_dtype_out(dtype: torch.dtype) -> None:
    layer = DrsLayer(3, 4, 4)
    y = torch.randn(1, 3, 4, 4, dtype=dtype)
    assert layer(y).dtype == dtype
    assert torch.equal(layer(y), y)
    layer(y).sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


def test_one_model_has_one_input_size() -> None:
    with pytest.raises(IncompatibleError, match="one input size") as caught:
        DrsLayer(3, 4, 4)(torch.zeros(1, 3, 5, 5))
    assert caught.value.exit_code == 7
    with pytest.raises(IncompatibleError):
        DrsLayer(3, 4, 4)(torch.zeros(1, 1, 4, 4))  # would broadcast
    with pytest.raises(IncompatibleError):
        DrsLayer(3, 4, 4)(torch.zeros(1, 3, 1, 1))  # would broadcast
    with pytest.raises(IncompatibleError, match="one input size"):
        build("test_resnet", "drs", 64).eval()(torch.zeros(1, 3, 96, 96))


def test_only_the_layers_and_the_head_move() -> None:
    recipe = load(
        None,
        {
            "dataset": "phantom:n=30", "backbone": "test_resnet", "weights": "random", "size": 64, "epochs": 1,
            "augment": [], "strategy": "drs", "device": "cpu", "precision": "fp32", "optimizer.lr": 0.01,
            "optimizer.weight_decay": 0.1, "schedule.kind": "constant", "phases": [],
        },
    )  # fmt: skip
    prepared = prepare(recipe)
    model, strategy = prepared.build()
    own = {
        f"{name}.{p}" for name, m in model.named_modules() if isinstance(m, DrsLayer) for p, _ in m.named_parameters()
    }
    assert len(own) == 4 * 4
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training_data = TrainingData(
        prepared.data.images.pixels, prepared.data.labels, prepared.data.names, prepared.splits[0]
    )
    Trainer(model, strategy, recipe, training_data, prepared.engine).fit()
    after = model.state_dict()
    assert before.keys() == after.keys()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == own | {name for name in after if name.startswith("head.")}


def test_rate_scales_the_learning_rate_of_the_layers_alone() -> None:
    backbone = build_backbone("test_resnet")
    model, strategy = build_model(backbone, "drs:rate=0.1", "gap", CLASSES, backbone.input)
    fast, slow = strategy.parameter_groups(model, 1e-2)
    assert (fast["lr"], slow["lr"]) == (1e-2, pytest.approx(1e-3))
    assert fast["params"] == list(model.head.parameters())
    assert slow["params"] == [p for layer in layers(model) for p in layer.parameters()]


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_100", "resnet9:width=8"])
def test_with_last_blocks_the_union_trains(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name)
    last = backbone.groups("block")[-1].parameters
    input = backbone.input.model_copy(update={"size": (64, 64)})
    model, _ = build_model(backbone, "drs+last-blocks:1", "gap", CLASSES, input)
    added = [p for layer in layers(model) for p in layer.parameters()]
    expected = {*last, *added, *model.head.parameters()}
    assert {p for p in model.parameters() if p.requires_grad} == expected
    assert 0 < len(last) < len(list(backbone.parameters())) - len(added)


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_100", "resnet9:width=8"])
def test_lean_norms_change_no_gradient(name: str) -> None:
    """Against torch's and timm's own batch norms in the same network."""
    model = build(name, "drs", 64).train()
    usual = copy.deepcopy(model)
    back: dict[type[nn.Module], type[nn.Module]] = {LeanBatchNorm2d: nn.BatchNorm2d, LeanBatchNormAct2d: BatchNormAct2d}
    turned = [module for module in usual.modules() if type(module) in back]
    assert len(turned) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for module in turned:
        module.__class__ = back[type(module)]
    images = torch.randn(2, 3, 64, 64)
    results = []
    for network in (model, usual):
        logits = network(images)
        results.append(
            [logits, *torch.autograd.grad(logits.sum(), [p for p in network.parameters() if p.requires_grad])]
        )
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.detach().abs().max()))


def test_a_frozen_norm_keeps_nothing_and_one_that_learns_works_as_ever() -> None:
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


def test_adapted_models_are_copied_pickled_and_published_under_the_same_names() -> None:
    model, frozen = build("test_resnet", "drs", 64), build("test_resnet", "frozen", 64)
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    common = {name: tuple(tensor.shape) for name, tensor in frozen.state_dict().items()}
    added = {name: own[name] for name in own.keys() - common.keys()}
    assert own == common | added
    first = (
        "backbone.net.layer1.0.act3.0."
        if "backbone.net.layer1.0.act3.0.depth_bias" in added
        else "backbone.net.layer1.0.act2.0."
    )
    sides = {name.removeprefix(first) for name in added if name.startswith(first)}
    assert sides == {"spatial_weight", "spatial_bias", "depth_weight", "depth_bias"}
    images = torch.randn(1, 3, 64, 64)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(model.eval()(images), other.eval()(images))
