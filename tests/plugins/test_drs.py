"""Deep representation scaling, against the numbers and equations of Byra 2021."""

from __future__ import annotations

import pytest
import torch

from mammozoo.errors import IncompatibleError
from mammozoo.models.build import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo.plan import plan
from mammozoo.training.fit import Material, fit
from mammozoo.training.recipe import load
from mammozoo_drs.drs import DrsLayer, layers

CLASSES = ("benign", "malignant")


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


def test_layer_is_the_formula() -> None:
    layer, y = random_layer(), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    out = layer(y)
    for n, k, i, j in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        spatial = layer.spatial_weight[0, 0, i, j] * y[n, k, i, j] + layer.spatial_bias[0, 0, i, j]
        expected = layer.depth_weight[0, k, 0, 0] * spatial + layer.depth_bias[0, k, 0, 0]
        torch.testing.assert_close(out[n, k, i, j], expected, rtol=1e-14, atol=1e-14)


def test_gradients() -> None:
    layer = random_layer(2, 2, 3)
    names = [name for name, _ in layer.named_parameters()]

    def apply(y: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (y,))

    y = torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(apply, (y, *layer.parameters()))


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
    prepared = plan(recipe)
    model, strategy = prepared.build()
    own = {
        f"{name}.{p}" for name, m in model.named_modules() if isinstance(m, DrsLayer) for p, _ in m.named_parameters()
    }
    assert len(own) == 4 * 4
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    material = Material(prepared.data.images.pixels, prepared.data.labels, prepared.data.names, prepared.splits[0])
    fit(model, strategy, recipe, material, prepared.engine)
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
