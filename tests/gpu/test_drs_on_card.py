"""The DRS layer on a graphics card: what the interpreter of Triton and fake tensors cannot tell.

The tests' own process sees no card (tests/conftest.py), so the first test runs the others in a process that sees it.
"""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch

from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo_drs import scaling, scaling_plain
from mammozoo_drs.drs import DrsLayer

from ..builtin.drs_exactness import FORMATS, SHAPES, activation, errors, layer_for

pytestmark = pytest.mark.gpu
on_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="test_all_of_this_on_the_card runs it")

ROUNDING = {torch.float32: 5e-7, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def card() -> str:
    """The last one: with several, it isn't the current device."""
    return f"cuda:{torch.cuda.device_count() - 1}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this process sees the card")
def test_all_of_this_on_the_card(device: str) -> None:
    if device == "cpu":
        pytest.skip("needs a graphics card")
    words = ["-q", "--noconftest", "-p", "no:cacheprovider", "-k", "not all_of_this", __file__]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout, done.stdout


@on_card
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("format", FORMATS)
def test_triton_is_the_formula(format: torch.memory_format, dtype: torch.dtype) -> None:
    from mammozoo_drs import scaling_triton

    torch.manual_seed(0)
    for shape in [*SHAPES, (16, 256, 56, 56), (16, 512, 7, 7)]:
        layer = layer_for(shape, card())
        y, g = (activation(shape, dtype, format, card()) for _ in "yg")
        assert scaling.arithmetic(y) is scaling_triton
        found = errors(layer, y, g)
        assert max(found.pop("z"), found.pop("y")) < ROUNDING[dtype], shape
        assert max(found.values()) < 1e-5, shape


@on_card
@pytest.mark.parametrize(("learns", "of_y"), [(False, True), (True, False)], ids=["of-y-alone", "of-parameters-alone"])
def test_what_is_asked_for(learns: bool, of_y: bool) -> None:
    torch.manual_seed(0)
    y, g = (activation((6, 5, 9, 11), torch.bfloat16, torch.channels_last, card()) for _ in "yg")
    assert max(errors(layer_for(y.shape, card()), y, g, learns, of_y).values()) < ROUNDING[torch.bfloat16]


@on_card
@pytest.mark.parametrize("format", FORMATS)
def test_float64_and_empty_batches_take_the_plain_path(format: torch.memory_format) -> None:
    torch.manual_seed(0)
    y, g = (activation((3, 5, 4, 7), torch.float64, format, card()) for _ in "yg")
    assert scaling.arithmetic(y) is scaling_plain
    assert max(errors(layer_for(y.shape, card()).double(), y, g).values()) < 1e-12
    layer = DrsLayer(5, 4, 7).to(card())
    layer(torch.zeros(0, 5, 4, 7, device=card(), requires_grad=True)).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@on_card
def test_sums_are_the_same_in_every_run() -> None:
    torch.manual_seed(0)
    layer, y = layer_for((32, 64, 28, 28), card()), activation((32, 64, 28, 28), torch.bfloat16, FORMATS[1], card())
    runs = [torch.autograd.grad(layer(y).float().square().sum(), list(layer.parameters())) for _ in range(3)]
    for later in runs[1:]:
        assert all(torch.equal(ours, first) for ours, first in zip(later, runs[0], strict=True))


@on_card
def test_more_numbers_than_32_bits_count() -> None:
    """2¹⁵ + 1 images of 2¹⁶ numbers: the last one begins at 2³¹."""
    images, shape = 2**15 + 1, (64, 32, 32)
    needed = 5 * 2**32  # y, z, g and a · g in bfloat16, and something over
    if torch.cuda.mem_get_info(card())[0] < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB on the card")
    layer = DrsLayer(*shape).to(card())
    y = torch.ones(images, *shape, dtype=torch.bfloat16, device=card())
    y[-1] = 3
    z = layer(y.requires_grad_())
    assert torch.equal(z[-1], y[-1])
    z.backward(torch.ones_like(z))
    assert y.grad is not None and torch.equal(y.grad[-1], torch.ones_like(y.grad[-1]))
    assert layer.spatial_weight.grad is not None
    assert (layer.spatial_weight.grad == 64 * (images - 1 + 3)).all()


@on_card
def test_a_network_learns_what_it_learns_on_the_cpu() -> None:
    """A step of an adapted network, lean batch norms and all; in bfloat16 too, where nothing may crash."""
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet")
    input = backbone.input.model_copy(update={"size": (64, 64)})
    model, _ = build_model(backbone, "drs", "gap", ("benign", "malignant"), input)
    images = torch.randn(4, 3, 64, 64).to(memory_format=torch.channels_last)

    def gradients(model: Model, images: torch.Tensor, bf16: bool = False) -> list[torch.Tensor]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = model.train()(images)
        logits.sum().backward()
        return [p.grad.cpu() for p in model.parameters() if p.grad is not None]

    on_card = copy.deepcopy(model).to(card()).to(memory_format=torch.channels_last)
    expected = gradients(model, images)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = gradients(copy.deepcopy(on_card), images.to(card()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    for ours, theirs in zip(gradients(on_card, images.to(card()), bf16=True), expected, strict=True):
        assert ours.isfinite().all()
        assert float((ours - theirs).norm()) < 0.2 * float(theirs.norm())
