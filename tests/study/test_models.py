"""Models that a study takes as they are: other programs' files are frozen by digest, and another file is a deviation."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import mammozoo
from mammozoo import api
from mammozoo.errors import ConflictError, IncompatibleError, NotFoundError
from mammozoo.files import sha256
from mammozoo.study.deviations import deviations
from mammozoo.study.freeze import freeze, read_frozen
from mammozoo.study.ledger import Ledger
from mammozoo.study.report import write_report
from mammozoo.study.run import Study, carry_out

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))), reason="needs: pip install onnx onnxruntime"
)


@pytest.fixture(params=["theirs.onnx", "./models/theirs.onnx"])
def study(request, tiny_run, tmp_path: Path) -> Path:
    """A frozen study of an ONNX file below its folder."""
    path = tmp_path / "study" / request.param
    path.parent.mkdir(parents=True)
    api.export(tiny_run.path, path)
    content = {
        "question": "Does it hold?", "models": {"theirs": {"zoo": request.param}},
        "locked": {"away": {"dataset": "phantom:n=24,seed=9"}}, "primary": {"on": "away"},
    }  # fmt: skip
    (tmp_path / "study" / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    freeze(tmp_path / "study")
    return tmp_path / "study"


def record(path: Path) -> None:
    """Another preprocessing, beside the same weights."""
    said = {"classes": ["benign", "malignant"], "input": {"size": [64, 64]}, "licence": "mit", "temperature": 3.0}
    path.with_name(f"{path.name}.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")


def weights(path: Path) -> None:
    """Another file."""
    path.write_bytes(path.read_bytes() + b"\0")


def test_its_digest_is_frozen_and_it_is_opened(study: Path) -> None:
    (path,) = study.rglob("*.onnx")
    assert read_frozen(study)["models"] == {"theirs": {"theirs.onnx": sha256(path)}}
    assert sha256(path) in (study / "protocol.md").read_text(encoding="utf-8")
    carry_out(study)
    assert not deviations(Study(study))
    assert "None that" in write_report(study).read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [record, weights])
def test_another_one_than_the_frozen_is_not_opened_without_a_reason(study: Path, change: Callable) -> None:
    (path,) = study.rglob("*.onnx")
    before = path.read_bytes()
    change(path)
    with pytest.raises(ConflictError, match=r"the model theirs.*--deviate"):
        carry_out(study)
    assert not Ledger(study).of("opening")
    assert "the model theirs" in "".join(deviations(Study(study)))
    if change is record:
        carry_out(study, "they found a better temperature")
        assert "they found a better temperature" in write_report(study).read_text(encoding="utf-8").partition("## P")[0]
        path.with_name(f"{path.name}.yaml").unlink()  # put back afterwards, it is seen
        assert "opened under another protocol" in "".join(deviations(Study(study)))
    else:
        path.write_bytes(before)
        carry_out(study)
        assert not deviations(Study(study))


def test_a_model_that_is_not_there_is_not_frozen(study: Path) -> None:
    text = (study / "study.yaml").read_text(encoding="utf-8")
    (study / "study.yaml").write_text(text.replace("theirs.onnx", "theirs2.onnx"), encoding="utf-8")
    with pytest.raises(NotFoundError):
        freeze(study)


def test_one_that_cannot_be_loaded_opens_nothing(study: Path) -> None:
    (path,) = study.rglob("*.onnx")
    path.write_bytes(b"no network")
    freeze(study)
    with pytest.raises(IncompatibleError, match=r"theirs\.onnx"):
        carry_out(study)
    assert not Ledger(study).of("opening") and not (study / "opened").exists()


def test_data_that_have_gone_open_nothing(study: Path) -> None:
    for label in ("benign", "malignant"):
        (study / "away" / label).mkdir(parents=True)
        shutil.copy(Path(mammozoo.__file__).with_name("example.png"), study / "away" / label / f"{label}.png")
    content = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    content["locked"]["away"] = {"dataset": "folder", "root": "away"}
    (study / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    freeze(study)
    (study / "away").rename(study / "moved")
    with pytest.raises(NotFoundError, match="nothing at --root"):
        carry_out(study)
    assert not Ledger(study).of("opening")
