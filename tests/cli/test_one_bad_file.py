"""One bad file, or one answer that is none, never stops the others; whatever is raised."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mammozoo.data.io.images import read_image
from mammozoo.evaluation import cases, predict
from mammozoo.plugins import registry

from ..builtin.trees.dicom import write_dicom
from ..builtin.trees.pictures import folder

RAISED = (ValueError("of\ntwo lines"), MemoryError(), OSError(5, "I/O error"))


def _reader(error: Exception):
    def read(path: Path):
        if "bad" in path.name:
            raise error
        return read_image(path)

    return read


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_predict_and_explain_go_on(command, tiny_run, pictures, tmp_path, monkeypatch, error: Exception) -> None:
    shutil.copy(next(pictures.iterdir()), pictures / "bad.png")
    for path in sorted(pictures.iterdir())[4:]:
        path.unlink()
    monkeypatch.setattr(predict, "read_image", _reader(error))  # a decoder that fails as decoders do
    monkeypatch.setattr(cases, "read_image", _reader(error))
    assert command("predict", "pictures", "--model", tiny_run.path, "--csv", "out.csv").code == 1
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [Path(row["file"]).name for row in rows if row["error"]] == ["bad.png"]
    assert "\n" not in next(row["error"] for row in rows if row["error"])
    assert sum(bool(row["label"]) for row in rows) == 3
    answer = command("explain", tiny_run.path, "pictures", "--out", "maps", "--json")
    assert answer.code == 1
    assert [Path(r["file"]).name for r in answer.json["results"] if r["error"]] == ["bad.png"]
    assert "bad.png" in next(r["error"] for r in answer.json["results"] if r["error"])


def test_frames_without_their_number(command, tiny_run, tiny, tmp_path) -> None:
    root = folder(tmp_path / "data")
    pixels = np.arange(3 * 40 * 30, dtype=np.uint16).reshape(3, 40, 30)
    bad = write_dicom(root / "benign" / "cine.dcm", pixels, BitsStored=12)
    answer = command("predict", "data/benign", "--model", tiny_run.path, "--json")
    assert answer.code == 1
    assert [r["file"] for r in answer.json["results"] if r["error"]] == [bad.relative_to(tmp_path).as_posix()]
    found = command("data", "check", "folder", "--root", root, "--json")
    assert [f["files"] for f in found.json["findings"] if f["kind"] == "unreadable-image"] == [["benign/cine.dcm"]]
    command("train", *tiny, "--dataset", "folder", "--root", root, "--out", "run").refused(1, "cine.dcm", "3 frames")
    answer = command("explain", tiny_run.path, "--dataset", "folder", "--root", root, "--out", "maps", "--json")
    assert answer.code == 1
    assert [r["file"] for r in answer.json["results"] if r["error"]] == ["benign/cine.dcm"]
    assert sum(r["overlay"] is not None for r in answer.json["results"]) == len(answer.json["results"]) - 1 > 20


def test_training_names_the_file_whatever_a_data_set_raises(command, tiny, tmp_path, monkeypatch) -> None:
    root = folder(tmp_path / "data")
    kind = registry().get("datasets", "phantom")
    original = kind.read

    def read(self, sample):
        if sample.image == "phantom-0-00003":
            raise KeyError("a bug of the data set")
        return original(self, sample)

    monkeypatch.setattr(kind, "read", read)
    command("train", *tiny, "--out", "run").refused(1, "phantom-0-00003", "KeyError")
    assert root.exists() and not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_an_answer_that_is_no_probability_is_an_error(command, tiny_run, pictures, tmp_path, value: float) -> None:
    broken = shutil.copytree(tiny_run.path, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    norm = next(name for name in tensors if name.endswith("running_var"))
    # Finite, as all weights that are loaded.
    tensors[norm] = torch.full_like(tensors[norm], -1.0 if value < 0 else value)
    kernel = next(name for name, one in tensors.items() if one.ndim == 4)
    tensors[kernel] = torch.full_like(tensors[kernel], abs(value))
    save_file(tensors, broken / "model.safetensors")
    answer = command("predict", "pictures", "--model", broken, "--json")
    assert answer.code == 1
    for result in answer.json["results"]:
        assert result["label"] is None and result["probabilities"] is None
        assert "no probability" in result["error"] and Path(result["file"]).name in result["error"]
    command("evaluate", broken, "--dataset", "phantom:n=24,seed=3").refused(1, "no probability")
    answer = command("explain", broken, "pictures", "--out", "maps", "--json")
    assert answer.code == 1 and all("no probability" in r["error"] for r in answer.json["results"])
