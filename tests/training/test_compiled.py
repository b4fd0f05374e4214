"""Training through torch.compile: the same model to rounding, the same names, and one clear line without a compiler."""

import functools
import shutil

import pytest
import torch
from torch import nn

from mammozoo.errors import UsageError
from mammozoo.models.weights import read_tensors
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.compiled import Compiled, require_compiler
from mammozoo.training.experiment import resume, train

from ..helpers import tiny

needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")


RECIPE = tiny(
    backbone="resnet9:width=4",
    batch=8,
    strategy="full",
    head="gap:dropout=0.3",
    epochs=2,
    precision="fp32",
    compile=True,
)


def test_a_compiled_run_resumes_with_the_same_bytes_and_plain_names(tmp_path, monkeypatch) -> None:
    """Without the minutes of a C++ compiler: the traced graph is run as it is."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    train(RECIPE, tmp_path / "whole")
    batches = iter([False, False, False, True])
    with pytest.raises(Stopped):
        train(RECIPE, tmp_path / "run", stop=lambda: next(batches, True))
    resume(tmp_path / "run")
    for name in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    names = list(read_tensors(tmp_path / "whole" / "model.safetensors"))
    assert names and all(name.startswith(("backbone.", "head.")) for name in names)


@needs_compiler
def test_only_full_batches_are_compiled_and_all_give_the_networks_own_values() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 1))
    compiled, calls = Compiled(network, 4), []
    fast = compiled.fast
    compiled.fast = lambda images: (calls.append(len(images)), fast(images))[1]  # type: ignore[assignment]
    for n in (4, 3, 4):
        images = torch.rand(n, 1, 8, 8)
        torch.testing.assert_close(compiled(images), network(images))
    assert calls == [4, 4]


def test_without_a_compiler_one_line_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    with pytest.raises(UsageError, match=r"C\+\+ compiler.*Leave --compile out"):
        require_compiler(torch.device("cpu"))
