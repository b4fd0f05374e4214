"""The DRS layer on every device: which path each takes, and that each path is the formula.

There is no card here. Fake tensors have every device and no memory; the Triton kernels run in Triton's interpreter, in a process
of their own, since its environment variable counts while Triton is imported. `tests/gpu` has what only a card can tell.
"""

import importlib.util
import logging
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mammozoo_drs import scaling, scaling_cpu, scaling_plain
from mammozoo_drs.drs import DrsLayer

from ..helpers import python
from .drs_exactness import FORMATS, SHAPES, activation, errors, layer_for, plain

DTYPES = [torch.float32, torch.bfloat16, torch.float16]

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

#: One rounding, at worst. Triton's interpreter cuts numbers off to bfloat16 where a card rounds them.
ROUNDING = {torch.float32: 2e-7, torch.bfloat16: 2**-7 if INTERPRETED else 2**-8, torch.float16: 2**-11}

has_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
interpreted = pytest.mark.skipif(not INTERPRETED, reason="test_triton_kernels_in_the_interpreter runs it")


@pytest.fixture(params=["cpu", "plain", pytest.param("triton", marks=interpreted)])
def path(request, monkeypatch) -> ModuleType:
    module = importlib.import_module(f"mammozoo_drs.scaling_{request.param}")
    monkeypatch.setattr(scaling, "arithmetic", lambda x: module)
    return module


@pytest.fixture
def unproved() -> Iterator[None]:
    for cache in (scaling._on_card, scaling._say_once):
        cache.cache_clear()
    yield
    for cache in (scaling._on_card, scaling._say_once):
        cache.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("format", FORMATS)
def test_each_path_is_the_formula(path: ModuleType, format: torch.memory_format, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for shape in SHAPES:
        layer = layer_for(shape)
        y, g = (activation(shape, dtype, format, "cpu") for _ in "yg")
        found = errors(layer, y, g)
        assert max(found.pop("z"), found.pop("y")) < ROUNDING[dtype], shape
        assert max(found.values()) < 2e-6, shape


@pytest.mark.parametrize(("learns", "of_y"), [(False, True), (True, False)], ids=["of-y-alone", "of-parameters-alone"])
@pytest.mark.parametrize("format", FORMATS)
def test_each_path_gives_what_is_asked_for(path, format: torch.memory_format, learns: bool, of_y: bool) -> None:
    torch.manual_seed(0)
    y, g = (activation((6, 5, 9, 11), torch.float32, format, "cpu") for _ in "yg")
    found = errors(layer_for(y.shape), y, g, learns, of_y)
    assert set(found) == {"z"} | ({"y"} if of_y else {name for name, _ in DrsLayer(1, 1, 1).named_parameters()})
    assert max(found.values()) < 2e-6


def test_each_path_takes_views(path: ModuleType) -> None:
    """A strided y, a g expanded from one number, one expanded from one image, a y that is one image many times."""
    torch.manual_seed(0)
    shape = (6, 4, 3, 5)
    layer, whole = layer_for(shape), torch.randn(shape)
    for y, g in [
        (torch.randn(6, 4, 3, 10)[..., ::2], whole),
        (whole, torch.ones(()).expand(shape)),
        (whole, torch.randn(1, 4, 3, 5).expand(shape)),
        (whole.to(memory_format=torch.channels_last), whole),
        (torch.randn(1, 4, 3, 5).expand(shape), whole),
    ]:
        layer.zero_grad()
        inside = nn.Identity()(y.detach()).requires_grad_()
        found = torch.autograd.grad(layer(inside), [inside, *layer.parameters()], g)
        expected = torch.autograd.grad(plain(layer, inside), [inside, *layer.parameters()], g)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@interpreted
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_proof_of_the_kernels_holds_and_can_fail(dtype: torch.dtype, monkeypatch) -> None:
    from mammozoo_drs import scaling_triton

    scaling_triton.prove(torch.device("cpu"), dtype)
    monkeypatch.setattr(scaling_triton, "affine", lambda y, a, b, out: out.copy_(y))
    with pytest.raises(RuntimeError, match="wrong numbers"):
        scaling_triton.prove(torch.device("cpu"), dtype)


@has_triton
@pytest.mark.skipif(INTERPRETED, reason="already there")
def test_triton_kernels_in_the_interpreter() -> None:
    """All of this file's tests of paths, with kernels that Triton interprets."""
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "each_path and triton or proof", __file__)
    done = python(*words, cwd=Path(__file__).parents[2], TRITON_INTERPRET="1").ok
    assert "14 passed" in done.out, done.out


@has_triton
@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("architecture", [75, 80, 90])
def test_triton_kernels_compile_for_cards(architecture: int, tmp_path, monkeypatch) -> None:
    """To machine code, which needs no card; the interpreter takes much that the compiler refuses."""
    triton = pytest.importorskip("triton", "3.3", reason="older ones are asked in another way")
    from triton.backends.compiler import GPUTarget

    from mammozoo_drs import scaling_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    sizes = {"images": "i32", "positions": "i32"}
    for y in ("*fp32", "*bf16", "*fp16"):
        forward = {"y": y, "a": "*fp32", "b": "*fp32", "z": y, **sizes}
        backward = {"g": y, "y": y, "a": "*fp32", "dy": y, "p": "*fp32", "sum_g": "*fp32", **sizes}
        tile = {"IMAGES": scaling_triton._IMAGES, "POSITIONS": scaling_triton._POSITIONS}
        for kernel, arguments, constants in [
            (scaling_triton._affine, forward, tile),
            (scaling_triton._gradients, backward, {"OF_Y": True, **tile}),
        ]:
            signature = arguments | dict.fromkeys(constants, "constexpr")
            aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(arguments) if name != "images"}
            source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
            compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
            assert "ld.global.v4" in compiled.asm["ptx"], "loads of 16 bytes"
            assert compiled.asm["cubin"]


@pytest.mark.parametrize("device", ["cuda", "mps", "xpu", "meta"])
def test_other_devices_and_fake_tensors_take_the_plain_path(device: str) -> None:
    with FakeTensorMode():
        for dtype in DTYPES:
            assert scaling.arithmetic(torch.empty(2, 3, dtype=dtype, device=device)) is scaling_plain


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
@pytest.mark.parametrize("format", FORMATS)
def test_a_layer_without_memory(format: torch.memory_format, dtype: torch.dtype) -> None:
    """Forward and backward on the meta device; forward on a fake card, whose autograd needs a driver."""
    for device in (torch.device("meta"), torch.device("cuda", 0)):
        with FakeTensorMode(), device:
            y = torch.empty(2, 3, 4, 5, dtype=dtype).to(memory_format=format).requires_grad_(device.type == "meta")
            layer = DrsLayer(3, 4, 5)
            z = layer(y)
            assert (z.dtype, z.device, z.stride()) == (dtype, device, y.stride())
            with torch.no_grad():
                assert layer(y).stride() == y.stride()
            if device.type == "meta":
                z.sum().backward()
                assert (y.grad.dtype, y.grad.device, y.grad.stride()) == (dtype, device, y.stride())
                assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


def test_the_cpu_takes_its_own_path_and_empty_batches_the_plain_one() -> None:
    assert scaling.arithmetic(torch.zeros(2, 3)) is scaling_cpu
    assert scaling.arithmetic(torch.zeros(2, 3, dtype=torch.float64)) is scaling_cpu
    layer, y = DrsLayer(3, 4, 5), torch.zeros(0, 3, 4, 5, requires_grad=True)
    layer(y).sum().backward()
    assert y.grad.shape == y.shape
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@has_triton
@pytest.mark.usefixtures("unproved")
def test_cuda_takes_triton_where_it_has_proved_itself(monkeypatch) -> None:
    from mammozoo_drs import scaling_triton

    proved = []
    monkeypatch.setattr(scaling, "_in_memory", lambda x: True)  # the fake tensors stand for real ones
    monkeypatch.setattr(scaling_triton, "prove", lambda device, dtype: proved.append((device.index, dtype)))
    with FakeTensorMode():
        for dtype in [*DTYPES, *DTYPES]:
            assert scaling.arithmetic(torch.empty(2, 3, dtype=dtype, device="cuda:1")) is scaling_triton
        assert scaling.arithmetic(torch.empty(2, 3, dtype=torch.float64, device="cuda:1")) is scaling_plain
        assert scaling.arithmetic(torch.empty(2, 3, device="xpu")) is scaling_plain
    assert proved == [(1, dtype) for dtype in DTYPES], "once for each card and dtype"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is there")
@pytest.mark.usefixtures("unproved")
def test_a_card_without_working_triton_says_so_once_and_takes_the_plain_path(caplog) -> None:
    """Here neither card nor driver is there, so that the proof fails as it does on a card that Triton can't use."""
    with caplog.at_level(logging.WARNING, "mammozoo_drs"):
        for dtype in [*DTYPES, *DTYPES]:
            assert scaling._on_card(torch.device("cuda", 0), dtype) is scaling_plain
    (record,) = caplog.records
    assert "without their Triton kernels" in record.getMessage() and "\n" not in record.getMessage()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compilers_and_exporters_read_the_plain_formula(dtype: torch.dtype, monkeypatch) -> None:
    """No function of ours is in the graph, and values and gradients are those of the layer as it is."""
    torch.manual_seed(0)
    layer, y = layer_for((2, 3, 4, 5)), torch.randn(2, 3, 4, 5).to(dtype).requires_grad_()
    wanted = [y, *layer.parameters()]
    expected = [layer(y), *torch.autograd.grad(layer(y).float().square().sum(), wanted)]

    def refuse(x: torch.Tensor) -> ModuleType:
        raise AssertionError("a path of a device was asked for")

    monkeypatch.setattr(scaling, "arithmetic", refuse)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    exported = torch.export.export(layer, (y.detach(),)).module()
    traced = torch.jit.trace(layer, (y.detach(),), check_trace=False)  # the check runs the layer untraced
    assert "_Scale" not in str(traced.graph)
    for form in (compiled, exported, traced):
        gradients = torch.autograd.grad(form(y).float().square().sum(), wanted) if form is compiled else []
        found = [form(y), *gradients]
        for ours, theirs in zip(found, expected, strict=False):
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(ours, theirs, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)


def test_a_step_on_the_cpu_imports_no_triton() -> None:
    code = """
        import sys, torch
        from mammozoo_drs.drs import DrsLayer
        layer = DrsLayer(3, 4, 5)
        layer(torch.ones(2, 3, 4, 5, requires_grad=True)).sum().backward()
        assert not {"triton", "mammozoo_drs.scaling_triton"} & set(sys.modules)
    """
    assert python("-c", textwrap.dedent(code), PYTHONPATH=os.pathsep.join(sys.path)).ok
