"""What transformers says of an image, mammozoo says; and what is not the pinned model is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mammozoo
import pytest
import yaml
from mammozoo.errors import ConflictError, IncompatibleError, NotVerifiedError, UsageError
from mammozoo.files import sha256
from mammozoo.study.freeze import freeze
from mammozoo.study.run import carry_out

from mammozoo_transformers.pins import FILES, RECORD, pin

DATA = "phantom:n=12,seed=9"


def processors() -> dict[str, Any]:
    """The ways in which the image processors of well-known classifiers prepare an image."""
    from transformers import BitImageProcessor, ConvNextImageProcessor, DeiTImageProcessor, ViTImageProcessor

    small = {"height": 32, "width": 32}
    return {
        "stretch": ViTImageProcessor(size=small),
        "bicubic": ViTImageProcessor(
            size=small, resample=3, image_mean=[0.485, 0.456, 0.406], image_std=[0.2, 0.3, 0.4]
        ),
        "no-normalisation": ViTImageProcessor(size=small, do_normalize=False),
        "scale": ViTImageProcessor(size=small, rescale_factor=1 / 127.5),
        "crop": DeiTImageProcessor(size={"height": 40, "width": 40}, crop_size=small),
        "shortest-edge": BitImageProcessor(size={"shortest_edge": 36}, crop_size=small),
        "convnext": ConvNextImageProcessor(size={"shortest_edge": 32}),
    }


@pytest.mark.parametrize(
    "name", ["stretch", "bicubic", "no-normalisation", "scale", "crop", "shortest-edge", "convnext"]
)
def test_it_answers_as_the_pipeline_of_transformers(name: str, save: Any, pictures: Path, tmp_path: Path) -> None:
    """On grey and coloured images, within 1e-5."""
    from transformers import pipeline

    folder = save(tmp_path / "it", processors()[name])
    pin(folder)
    files = sorted(pictures.iterdir())
    theirs = pipeline("image-classification", model=str(folder), device="cpu")
    expected = [{one["label"]: one["score"] for one in theirs(str(file))} for file in files]
    found = [one.probabilities for one in mammozoo.load(folder, device="cpu").predict(pictures, force=True)]
    assert found == [pytest.approx(one, abs=1e-5) for one in expected]
    assert max(one["malignant"] for one in found) - min(one["malignant"] for one in found) > 1e-3


def test_the_commands_take_it(pinned: Path, pictures: Path, tmp_path: Path) -> None:
    """`predict` shows the licence, `evaluate` the digest, and a study opens a locked part with it."""
    words = [sys.executable, "-m", "mammozoo", "predict", pictures, "--model", pinned, "--force"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "licence: mit" in done.stdout + done.stderr
    found = mammozoo.evaluate(pinned, DATA, device="cpu").evaluation
    assert len(found.predictions) == 12 and found.sha256 == sha256(pinned / "model.safetensors")

    shutil.copytree(pinned, tmp_path / "theirs")
    study = {
        "question": "Does it hold?", "models": {"theirs": {"zoo": "./theirs"}},
        "locked": {"away": {"dataset": "phantom:n=60,seed=9"}}, "primary": {"on": "away"},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    freeze(tmp_path)
    carry_out(tmp_path)
    assert len((tmp_path / "opened" / "away" / "theirs.csv").read_text().splitlines()) == 61


def test_pins_name_bytes_licence_and_revision(pinned: Path, tmp_path: Path) -> None:
    """The revision is that of a snapshot in the cache of the Hub."""
    folder = Path(shutil.copytree(pinned, tmp_path / "snapshots" / ("c" * 40)))
    (folder / RECORD).unlink()
    with pytest.raises(UsageError, match="python -m mammozoo_transformers"):
        mammozoo.load(folder)
    done = subprocess.run([sys.executable, "-m", "mammozoo_transformers", folder], capture_output=True, check=True)
    said = yaml.safe_load((folder / RECORD).read_text())
    assert said["files"] == {name: sha256(folder / name) for name in FILES}
    assert (said["licence"], said["revision"]) == ("mit", "c" * 40) and b"mit" in done.stdout
    assert mammozoo.load(folder).config.licence == "mit"
    with pytest.raises(ConflictError):
        pin(folder)


@pytest.mark.parametrize("name", FILES)
def test_another_file_than_the_pinned_is_refused(name: str, copy: Path) -> None:
    """Also another config or another preprocessing, which the weights do not show."""
    path = copy / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(NotVerifiedError, match=name):
        mammozoo.load(copy)
    path.unlink()
    if name != "config.json":  # without it, it is no model at all
        with pytest.raises(IncompatibleError, match=f"has no {name}"):
            mammozoo.load(copy)


def changed(copy: Path, file: str, **keys: Any) -> Path:
    """The model with other values in one of its JSON files, pinned again."""
    content = json.loads((copy / file).read_text()) | keys
    (copy / file).write_text(json.dumps(content))
    (copy / RECORD).unlink()
    pin(copy)
    return copy


@pytest.mark.parametrize(
    ("file", "keys", "error", "said"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling.Mine"}}, IncompatibleError, "code of its own"),
        ("config.json", {"problem_type": "multi_label_classification"}, IncompatibleError, "one class an image"),
        ("config.json", {"id2label": {"0": "a", "1": "a"}}, UsageError, "its own name"),
        ("config.json", {"id2label": {"0": "a"}}, IncompatibleError, "cannot load"),
        ("config.json", {"num_hidden_layers": 3}, IncompatibleError, "lack"),
        ("config.json", {"hidden_size": 32}, IncompatibleError, "cannot load"),
        ("config.json", {"model_type": "mine"}, IncompatibleError, "cannot load"),
        ("preprocessor_config.json", {"do_resize": False}, IncompatibleError, "cannot say"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 32}}, IncompatibleError, "cannot say"),
        ("preprocessor_config.json", {"image_processor_type": "MineProcessor"}, IncompatibleError, "cannot be read"),
    ],
)
def test_what_cannot_be_said_is_refused(file: str, keys: Any, error: type[Exception], said: str, copy: Path) -> None:
    """With one message."""
    with pytest.raises(error, match=said):
        mammozoo.load(changed(copy, file, **keys))


def test_no_pickle_is_read(copy: Path) -> None:
    """Nor weights in parts."""
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(IncompatibleError, match="'pytorch_model.bin' is not read: pickles can run code"):
        mammozoo.load(copy)


def test_the_record_names_classes_and_threshold(copy: Path, pictures: Path) -> None:
    """As a data set calls them."""
    changed(copy, "config.json", id2label={"0": "LABEL_0", "1": "LABEL_1"})
    record = yaml.safe_load((copy / RECORD).read_text())
    record |= {
        "classes": ["benign", "malignant"], "threshold": "theirs",
        "thresholds": {"theirs": {"value": 0.25, "chosen_on": "their validation images"}},
    }  # fmt: skip
    (copy / RECORD).write_text(yaml.safe_dump(record))
    model = mammozoo.load(copy)
    assert model.config.classes == ("benign", "malignant") and model.config.cut() == 0.25
    (copy / RECORD).write_text(yaml.safe_dump(record | {"classes": ["one"]}))
    with pytest.raises(UsageError, match="2 outputs"):
        mammozoo.load(copy)
