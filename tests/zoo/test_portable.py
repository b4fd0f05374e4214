"""`mammozoo export`: a file of another format answers as the model does, says what it needs, or is not written."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import mammozoo
from mammozoo import api
from mammozoo.errors import ConflictError, FailedError, IncompatibleError, NotFoundError, UsageError
from mammozoo.files import sha256
from mammozoo.models.config import read_config
from mammozoo.models.ensemble import Ensemble
from mammozoo.models.factory import build_backbone, build_model, save_model
from mammozoo.zoo import portable

EXAMPLE = Path(mammozoo.__file__).with_name("example.png")
DOCS = Path(__file__).parents[2] / "docs"
needs_onnx = pytest.mark.skipif(
    not all(map(portable.importlib.util.find_spec, ("onnx", "onnxruntime"))),
    reason="needs onnx and onnxruntime: pip install onnx onnxruntime",
)
FORMATS = [pytest.param("onnx", marks=needs_onnx), "torchscript"]


@torch.inference_mode()
def answers(file: Path, format: str, x: torch.Tensor) -> tuple[torch.Tensor, dict]:
    """The logits of the file and its metadata, read as another program reads them."""
    if format == "torchscript":
        extra = {"mammozoo": ""}
        network = torch.jit.load(file, _extra_files=extra)
        return network(x), json.loads(extra["mammozoo"])
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    (logits,) = session.run(None, {"images": x.numpy()})
    return torch.from_numpy(np.array(logits)), json.loads(session.get_modelmeta().custom_metadata_map["mammozoo"])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("reference", ["run", "busi-resnet9-drs"])
def test_the_file_answers_as_the_model_and_says_what_it_needs(
    command, reference: str, format: str, tiny_run, pictures: Path, tmp_path: Path
) -> None:
    named = tiny_run.path if reference == "run" else reference
    words = ("export", named, "--format", format, "--out", "it.bin", "--check", pictures, "--json")
    written = command(*words).ok.json
    assert written["sha256"] == sha256(tmp_path / "it.bin") and written["images"] == 8
    assert written["difference"] < portable.PARITY
    model = api.load(named)
    expected = [list(one.probabilities.values()) for one in model.predict(pictures, force=True)]
    prepare = model.config.input.preparer()
    pixels = [prepare(portable.read_image(path)) for path in sorted(pictures.iterdir())]
    for some in (slice(None), slice(3, 4)):  # any number of images
        x = model.config.input.normalize(torch.from_numpy(np.stack(pixels[some]))).contiguous()
        logits, facts = answers(tmp_path / "it.bin", format, x)
        found = torch.softmax(logits / (facts["temperature"] or 1), 1)
        assert np.abs(found.numpy() - expected[some]).max() < 1e-4 or model.engine.precision == "bf16"
    config = model.config
    assert facts["classes"] == list(config.classes) and facts["threshold"] == config.threshold
    assert {name: one["value"] for name, one in facts["thresholds"].items()} == {
        name: one.value for name, one in config.thresholds.items()
    }
    assert facts["input"] == config.input.model_dump(mode="json") and facts["stamps"] == list(config.stamps)
    assert facts["licence"] == (None if reference == "run" else "apache-2.0")
    command(*words).refused(9, "it.bin")  # what is there is not replaced


@pytest.mark.parametrize("format", FORMATS)
def test_several_models_are_the_mean_of_their_probabilities(format: str, tiny_run, tmp_path: Path) -> None:
    config = read_config(tiny_run.path).model_copy(
        update={"classes": ("a", "b", "c"), "thresholds": {}, "threshold": "", "calibration": None}
    )
    models = [
        build_model(build_backbone(config.backbone), "full", "gap", config.classes, config.input)[0] for _ in "ab"
    ]
    members = [{"name": str(n), "strategy": "full", "head": "gap", "temperature": 0.1 + n} for n in range(2)]
    whole = Ensemble(models, [0.1, 1.1]).eval()
    config = type(config).model_validate(config.model_dump() | {"members": members})
    save_model(whole, config, tmp_path / "several")
    api.export(tmp_path / "several", tmp_path / "it", format=format)
    x = torch.randn(3, 3, *config.input.size)
    logits, facts = answers(tmp_path / "it", format, x)
    assert facts["temperature"] is None
    with torch.inference_mode():
        assert torch.allclose(torch.softmax(logits, 1).double(), whole.each(x).mean(0), atol=1e-5)


def test_a_file_that_answers_otherwise_is_not_written(tiny_run, tmp_path: Path, monkeypatch) -> None:
    right = portable._of_each_class
    monkeypatch.setattr(portable, "_of_each_class", lambda logits: right(logits) + torch.tensor([0.0, 1e-2]))
    with pytest.raises(FailedError, match="a probability differs"):
        api.export(tiny_run.path, tmp_path / "it", format="torchscript")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused_and_nothing_is_written(tiny_run, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "it"
    for error, change in [
        (UsageError, {"format": "pickle"}),
        (NotFoundError, {"member": "fold-7"}),
        (NotFoundError, {"check": tmp_path / "nothing.png"}),
        (ConflictError, {"check": shutil.copy(EXAMPLE, out.with_suffix(".png")), "out": out.with_suffix(".png")}),
    ]:
        with pytest.raises(error):
            api.export(tiny_run.path, **{"out": out, "format": "torchscript"} | change)
    monkeypatch.setattr(torch.jit, "trace", lambda *given, **more: 1 / 0)
    with pytest.raises(IncompatibleError, match="torchscript: division"):
        api.export(tiny_run.path, out, format="torchscript")
    monkeypatch.setattr(portable.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install onnx"):
        api.export(tiny_run.path, out)
    assert not out.exists()


@needs_onnx
def test_the_documented_program_gives_the_models_answer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    api.export("ultrasound", "model.onnx")
    shutil.copy(EXAMPLE, "lesion.png")
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", (DOCS / "export.md").read_text(), re.DOTALL)[1], names)
    (expected,) = api.load("ultrasound", precision="fp32").predict("lesion.png")
    assert names["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
