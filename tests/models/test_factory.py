"""A model is built once and copied for every fold: a copy computes the same, and learns alone."""

from __future__ import annotations

import copy

import pytest
import torch

from mammozoo.config.names import parse
from mammozoo.models.factory import build_backbone, build_model, build_strategy
from mammozoo.plugins import registry


@pytest.mark.parametrize(
    "backbone", ["resnet9:width=4", "test_resnet", "test_efficientnet", "torchvision/mobilenet_v3_small"]
)
@pytest.mark.parametrize("head", registry().items("heads"))
def test_a_copy_is_a_model_of_its_own(backbone: str, head: str) -> None:
    network = build_backbone(parse(backbone))
    input = network.input.model_copy(update={"size": (64, 64)})
    model, chosen = build_model(network, build_strategy("drs+last-blocks:1"), parse(head), ("a", "b"), input)
    twin = copy.deepcopy(model)
    images = torch.rand(2, input.channels, 64, 64, generator=torch.Generator().manual_seed(0))
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
