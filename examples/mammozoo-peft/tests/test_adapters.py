"""What the checks do not know: that it is LoRA and IA³, on the layers that are said, and the numbers by hand."""

from __future__ import annotations

import pytest
import torch
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from torch import nn

from mammozoo_peft.lora import fits

NINE = [(3, 4), (4, 8), (8, 8), (8, 8), (8, 16), (16, 32), (32, 32), (32, 32)]  # 3 × 3 convolutions of resnet9:width=4
FAMILIES = ["test_resnet", "resnet9:width=4", "mobilenetv2_035", "test_efficientnet", "test_convnext"]
STRATEGIES = ["peft-lora", "peft-ia3", "peft-ia3:side=input"]


def adapted(strategy: str, backbone: str = "resnet9:width=4") -> Model:
    """A model with random weights under a strategy, for images of 64 × 64."""
    torch.manual_seed(0)
    network = build_backbone(backbone)
    input = network.input.model_copy(update={"size": (64, 64)})
    return build_model(network, strategy, "gap", ("benign", "malignant"), input)[0]


def learning(model: Model) -> dict[str, nn.Parameter]:
    """What trains in the backbone, by name."""
    return {name: p for name, p in model.backbone.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("backbone", FAMILIES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_starts_as_the_frozen_network(strategy: str, backbone: str) -> None:
    """B is zero, all factors are one: to the bit, also in the depths."""
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    plain, model = adapted("frozen", backbone).eval(), adapted(strategy, backbone).eval()
    with torch.inference_mode():
        assert torch.equal(plain.backbone(images), model.backbone(images))


def test_how_many_numbers_learn() -> None:
    """LoRA: r · (9 · inputs + outputs) of a 3 × 3 convolution. IA³: a factor for each output or input channel."""
    counts = {s: sum(p.numel() for p in learning(adapted(s)).values()) for s in ("peft-lora:r=2", *STRATEGIES[1:])}
    assert counts == {
        "peft-lora:r=2": sum(2 * (9 * inputs + outputs) for inputs, outputs in NINE),
        "peft-ia3": sum(outputs for _, outputs in NINE),
        "peft-ia3:side=input": sum(inputs for inputs, _ in NINE),
    }


def test_lora_adds_alpha_over_r_times_b_a() -> None:
    """On one convolution, computed with torch alone."""
    layer = adapted("peft-lora:r=2,alpha=6").backbone.get_submodule("res1.conv1.conv")
    weights = dict(layer.named_parameters())
    nn.init.normal_(weights["lora_B.default.weight"])
    x = torch.randn(1, 8, 5, 5)
    down = nn.functional.conv2d(x, weights["lora_A.default.weight"], padding=1)
    update = 3 * nn.functional.conv2d(down, weights["lora_B.default.weight"])
    plain = nn.functional.conv2d(x, weights["base_layer.weight"], padding=1)
    torch.testing.assert_close(layer(x), plain + update)


@pytest.mark.parametrize("side", ["input", "output"])
def test_ia3_rescales_channels(side: str) -> None:
    """Before the convolution or behind it."""
    layer = adapted(f"peft-ia3:side={side}").backbone.get_submodule("layer1.conv")
    weights = dict(layer.named_parameters())
    factors = nn.init.normal_(weights["ia3_l.default"])
    x = torch.randn(1, 4, 5, 5)
    given = x * factors if side == "input" else x
    made = nn.functional.conv2d(given, weights["base_layer.weight"], padding=1)
    torch.testing.assert_close(layer(x), made if side == "input" else made * factors)


def test_the_names_in_a_saved_model() -> None:
    """They are peft's own; were they to change, models that were saved before could not be loaded."""
    names = {name for name in adapted("peft-lora").state_dict() if name.startswith("backbone.prep.conv.")}
    assert {name.removeprefix("backbone.prep.conv.") for name in names} == {
        "base_layer.weight", "lora_A.default.weight", "lora_B.default.weight",
    }  # fmt: skip
    assert "backbone.prep.conv.ia3_l.default" in adapted("peft-ia3").state_dict()


def test_which_layers_lora_leaves_alone() -> None:
    """Those of which peft could not make A: it knows kernel, stride and padding, and no more."""

    class Standardised(nn.Conv2d):
        """A convolution with a rule of its own."""

    assert fits(nn.Conv2d(4, 8, 3, stride=2, padding=1)) and fits(nn.Linear(4, 8))
    assert not fits(nn.Conv2d(8, 8, 3, groups=8))
    assert not fits(nn.Conv2d(8, 8, 3, groups=2))
    assert not fits(nn.Conv2d(4, 8, 3, dilation=2))
    assert not fits(nn.Conv2d(4, 8, 3, padding_mode="reflect"))
    assert not fits(Standardised(4, 8, 3))


def test_depthwise_convolutions_get_factors_and_no_lora() -> None:
    """MobileNetV2: its depthwise convolutions are called conv_dw."""
    assert not [name for name in learning(adapted("peft-lora", "mobilenetv2_035")) if "conv_dw" in name]
    assert [name for name in learning(adapted("peft-ia3", "mobilenetv2_035")) if "conv_dw" in name]


def test_where() -> None:
    """`spatial` and `pointwise` share the layers out."""
    found = {
        where: set(learning(adapted(f"peft-lora:where={where}", "test_resnet")))
        for where in ("all", "spatial", "pointwise")
    }
    assert found["spatial"] and found["pointwise"]
    assert found["spatial"] | found["pointwise"] == found["all"] and not found["spatial"] & found["pointwise"]
    with pytest.raises(IncompatibleError, match="none of the 8 convolutions and dense layers"):
        adapted("peft-lora:where=pointwise")  # resnet9 has no 1 × 1


@pytest.mark.parametrize("other", ["drs", "last-blocks:1", "full", "gamma:layer=6", "last-blocks:k=2,by=layer"])
@pytest.mark.parametrize("own", STRATEGIES)
def test_with_others_the_union_learns_in_both_orders(own: str, other: str) -> None:
    """Layers are counted as before, though peft has put more around them; a layer's adapter trains with it."""
    parts = names(adapted(own)) | names(adapted(other))
    for strategy in (f"{own}+{other}", f"{other}+{own}"):
        assert names(adapted(strategy)) == parts


def names(model: Model) -> set[str]:
    """What trains, by the names of the frozen network: peft puts base_layer into them, and drs block."""
    return {name.replace("base_layer.", "").replace("block.", "") for name in learning(model)}


def test_one_of_them_at_a_time() -> None:
    """A second one would adapt the parts of the first."""
    for strategy in ("peft-lora+peft-ia3", "peft-ia3+peft-lora", "peft-lora+peft-lora:r=2"):
        with pytest.raises(UsageError, match="One strategy of peft at a time"):
            adapted(strategy)


@pytest.mark.parametrize("options", ["r=0", "alpha=0", "where=everywhere", "rank=4"])
def test_options_that_are_refused(options: str) -> None:
    """With a message, before anything is built."""
    with pytest.raises(UsageError):
        adapted(f"peft-lora:{options}")
