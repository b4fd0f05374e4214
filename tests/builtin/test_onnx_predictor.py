"""ONNX files in place of models: what mammozoo exported answers as before, foreign ones by the record beside them."""

import importlib.util
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from mammozoo import api
from mammozoo.data.io.images import read_image
from mammozoo.errors import FailedError, IncompatibleError, NotFoundError, UsageError
from mammozoo.evaluation.predict_journal import key_of
from mammozoo.files import sha256
from mammozoo.testing import checks, run

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))), reason="needs: pip install onnx onnxruntime"
)
DATA = "phantom:n=12,seed=9"
RECORD: dict[str, Any] = {
    "classes": ["benign", "malignant"],
    "input": {"size": [32, 32], "channels": 1, "mean": [0.5], "std": [0.5], "fit": "pad"},
    "output": "probabilities",
    "licence": "mit",
}


class Theirs(nn.Module):
    """A network of somebody else; `form` is what it ends with."""

    def __init__(self, form: str):
        super().__init__()
        torch.manual_seed(0)
        self.form, self.layers = form, nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.layers(x)
        if self.form == "softmax":
            return torch.softmax(logits, 1)
        return torch.sigmoid(logits[:, 1:] - logits[:, :1]) if self.form == "sigmoid" else logits


def theirs(path: Path, form: str = "softmax", one: bool = False, **record: Any) -> Path:
    """A file as another program writes it, for any number of images or for `one`, with its record."""
    axes = {} if one else {"dynamic_axes": {"pixels": {0: "n"}, "out": {0: "n"}}}
    x = torch.zeros(1, 1, 32, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer
        torch.onnx.export(Theirs(form), (x,), path, dynamo=False, input_names=["pixels"], output_names=["out"], **axes)
    path.with_name(f"{path.name}.yaml").write_text(yaml.safe_dump(RECORD | record))
    return path


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "ours.onnx"
    api.export(tiny_run.path, path)
    return path


def test_what_mammozoo_exported_answers_as_the_model(command, exported: Path, tiny_run, pictures: Path) -> None:
    ours, file = (
        command("predict", pictures, "--model", model, "--json", "--force").ok.json
        for model in (tiny_run.path, exported)
    )
    assert file["model"]["sha256"] == sha256(exported)
    assert file["model"]["threshold"]["value"] == ours["model"]["threshold"]["value"]
    for one, other in zip(ours["results"], file["results"], strict=True):
        assert one["label"] == other["label"] and one["sha256"] == other["sha256"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)
    ours, file = (api.evaluate(model, DATA, device="cpu") for model in (str(tiny_run.path), exported))
    assert file.evaluation.sha256 == sha256(exported)
    assert file.scores["auc"].value == pytest.approx(ours.scores["auc"].value, abs=1e-6)


@pytest.mark.parametrize("form", ["softmax", "sigmoid", "logits"])
def test_a_foreign_file_by_its_record(form: str, command, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    output = "logits" if form == "logits" else "probabilities"
    cut = {"theirs": {"value": 0.45, "chosen_on": "their validation images"}}
    path = theirs(tmp_path / "it.onnx", form, one=form == "softmax", output=output, thresholds=cut, threshold="theirs")
    monkeypatch.chdir(tmp_path)
    model = api.load("it.onnx", device="cpu")  # a file's own name will do
    found = [one.probabilities for one in model.predict(pictures, force=True)]
    prepare = model.config.input.preparer()
    x = torch.from_numpy(np.stack([prepare(read_image(file)) for file in sorted(pictures.iterdir())]))
    with torch.inference_mode():
        expected = torch.softmax(Theirs("logits")(model.config.input.normalize(x)), 1).tolist()
    assert [list(one.values()) for one in found] == [pytest.approx(row, abs=1e-5) for row in expected]
    shown = command("predict", pictures, "--model", "it.onnx", "--force", "--csv", "out.csv").ok
    assert "licence: mit" in shown.err + shown.out and "0.450" in shown.err + shown.out
    assert len(api.evaluate(path, DATA).evaluation.predictions) == 12
    assert {run(check).state for check in checks("basics", only=["predictors:*"], root=path)} == {"passed"}


def test_another_record_is_another_call(pictures: Path, tmp_path: Path) -> None:
    """The journal of one that was killed does not answer for a model whose preprocessing changed since."""
    model = api.load(theirs(tmp_path / "it.onnx"))
    before = key_of(model.folder, model.config, model.engine)
    model = api.load(theirs(tmp_path / "it.onnx", input=RECORD["input"] | {"fit": "crop"}))
    assert key_of(model.folder, model.config, model.engine) != before


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"classes": ["a"]}, UsageError, "classes"),
        ({"classes": ["a", "a"]}, UsageError, "twice"),
        ({"classes": ["a", "b", "c"]}, FailedError, "classes"),
        ({"threshold": "theirs"}, UsageError, "threshold"),
        ({"input": RECORD["input"] | {"size": [32, 33]}}, IncompatibleError, "33"),
        ({"input": {"size": [32, 32]}}, IncompatibleError, "3, 32, 32"),
        ({"input": RECORD["input"] | {"size": [99999, 32]}}, UsageError, "size"),
        ({"input": RECORD["input"] | {"preprocess": ["clash"]}}, NotFoundError, "clash"),
        ({"form": "logits"}, FailedError, "output: logits"),
        ({"extra": 1}, UsageError, "extra"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_record_that_does_not_fit_is_refused(
    change: dict[str, Any], error: type[Exception], said: str, pictures: Path, tmp_path: Path
) -> None:
    path = theirs(tmp_path / "it.onnx", **change)
    with pytest.raises(error, match=said):
        api.predict(pictures, path, force=True)


def test_files_that_are_none_are_refused(exported: Path, pictures: Path, tmp_path: Path) -> None:
    path = theirs(tmp_path / "bare.onnx")
    record = path.with_name("bare.onnx.yaml")
    text = record.read_text()
    record.unlink()
    with pytest.raises(UsageError, match=r"bare\.onnx\.yaml"):  # what it lacks is named
        api.load(path)
    record.write_text(text)
    for content in (b"", path.read_bytes()[:-3000], b"\x00" * 5000):
        path.write_bytes(content)
        with pytest.raises(IncompatibleError, match="not an ONNX model"):
            api.load(path)
    import onnx

    apart = onnx.load(theirs(tmp_path / "apart.onnx"))
    onnx.save(apart, tmp_path / "apart.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(IncompatibleError, match="onnxruntime can run"):  # its SHA-256 would not be that of its weights
        api.load(tmp_path / "apart.onnx")


def test_what_needs_our_model_refuses_it(command, exported: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copy(exported, tmp_path / "it.onnx")
    for words in (
        ("explain", exported, pictures),
        ("export", exported, "--out", "again.onnx"),
        ("recalibrate", exported, pictures, "--dataset", "folder", "--out", "out"),
        ("embed", exported, pictures, "--dataset", "folder", "--out", "out.csv"),
        ("train", "--dataset", DATA, "--weights", f"run:{exported}", "--out", "out"),
        ("evaluate", exported),
        ("predict", pictures, "--model", "it.onnx", "--member", "best"),
    ):
        command(*words).refused(2, "another program")
    assert {path.name for path in tmp_path.iterdir()} == {"it.onnx", pictures.name}
