"""A model is built once and copied for every fold: a copy computes the same, and learns alone."""

import copy

import pytest
import torch
from torch import nn

from mammozoo.models.backbone import Backbone
from mammozoo.models.factory import build_backbone, load_model, round_weights, save_model
from mammozoo.models.weights import read_tensors
from mammozoo.plugins import registry

from ..helpers import network


@pytest.mark.parametrize(
    "backbone", ["resnet9:width=4", "test_resnet", "test_efficientnet", "torchvision/mobilenet_v3_small"]
)
@pytest.mark.parametrize("head", registry().items("heads"))
def test_a_copy_is_a_model_of_its_own(backbone: str, head: str) -> None:
    model, chosen = network(backbone, "drs+last-blocks:1", head)
    twin = copy.deepcopy(model)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.eval()(images)
        assert torch.equal(twin.eval()(images), expected)
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in model.parameters()]
    groups = chosen.parameter_groups(twin, 0.1)
    assert {p for group in groups for p in group["params"]} == {p for p in twin.parameters() if p.requires_grad}
    with torch.no_grad():
        for parameter in (p for group in groups for p in group["params"]):
            parameter.zero_()
    with torch.inference_mode():
        assert torch.equal(model(images), expected) and not torch.equal(twin(images), expected)


def test_fp16_keeps_in_fp32_what_is_beyond_its_range(tiny_run, tmp_path) -> None:
    """The largest number of fp16 is 65,504; a batch norm behind large activations has a variance above it."""
    model, config = load_model(tiny_run.path)
    norm = next(module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d))
    norm.running_var.fill_(1e6)
    norm.weight.data.fill_(3e5)
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)).expand(2, 3, 64, 64)
    round_weights(model, torch.float16)
    save_model(model, config, tmp_path, torch.float16)
    again, _ = load_model(tmp_path)
    with torch.inference_mode():
        assert torch.isfinite(model(images)).all()
        assert torch.equal(again(images), model(images)), "scores are those of the stored weights"
    kinds = {name: str(tensor.dtype) for name, tensor in read_tensors(tmp_path / "model.safetensors").items()}
    wide = [name.rpartition(".")[2] for name, kind in kinds.items() if kind == "torch.float32"]
    assert sorted(wide) == ["running_var", "weight"] and set(kinds.values()) == {"torch.float16", "torch.float32"}


# a layer that a strategy has wrapped, keeping it as `base_layer`, counts once


class LowRank(nn.Module):
    """A convolution and two small ones beside it, as `peft` lays them out."""

    def __init__(self, base_layer: nn.Conv2d):
        super().__init__()
        self.base_layer = base_layer
        self.down = nn.Conv2d(base_layer.in_channels, 2, 3, padding=1, bias=False)
        self.up = nn.Conv2d(2, base_layer.out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.base_layer(x) + self.up(self.down(x))
        return out


def wrapped(backbone: Backbone) -> Backbone:
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.Conv2d):
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, LowRank(module))
    return backbone


def test_a_wrapped_layer_is_one_layer_with_what_was_put_around_it() -> None:
    plain, changed = build_backbone("resnet9:width=4"), wrapped(build_backbone("resnet9:width=4"))
    assert [group.name for group in changed.groups("layer")] == [group.name for group in plain.groups("layer")]
    assert len(plain.groups("layer")) == 8
    changed = wrapped(build_backbone("resnet9:width=4"))
    last = changed.groups("layer")[-1]
    names = {name for name, parameter in changed.named_parameters() if parameter in set(last.parameters)}
    assert names == {
        f"res3.conv2.{part}"
        for part in ("conv.base_layer.weight", "conv.down.weight", "conv.up.weight", "norm.weight", "norm.bias")
    }
    changed = wrapped(build_backbone("test_resnet"))
    grouped = [parameter for group in changed.groups("layer") for parameter in group.parameters]
    assert len(grouped) == len(set(grouped)) == len(list(changed.parameters()))
