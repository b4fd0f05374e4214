"""What surrounds a prediction: reading ahead, the header's modality, and answers that are all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from mammozoo.data.io.dicom import is_for_processing, read_modality
from mammozoo.evaluation import predict
from mammozoo.evaluation.predict import same_answer
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.training.run_directory import RunDirectory


def _header(path: Path, **tags: str) -> Path:
    dataset = pydicom.Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    return path


def test_the_modality_is_read_from_the_header_alone(tmp_path: Path) -> None:
    bare = _header(tmp_path / "bare.dcm", Modality="MG", PresentationIntentType="FOR PROCESSING", PatientID="x")
    assert read_modality(bare) == "MG"  # no preamble, no pixels
    assert is_for_processing(bare)
    marked = tmp_path / "IM0001"  # known by its content
    marked.write_bytes(b"\0" * 128 + b"DICM" + _header(tmp_path / "us.dcm", Modality="US").read_bytes())
    assert read_modality(marked) == "US"
    assert not is_for_processing(marked)


def test_a_file_without_a_modality_says_none(tmp_path: Path) -> None:
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "broken.dcm").write_bytes(np.random.default_rng(0).bytes(500))
    (tmp_path / "empty.dcm").write_bytes(b"")
    _header(tmp_path / "silent.dcm", PatientID="x")
    for name in ("a.png", "broken.dcm", "empty.dcm", "silent.dcm", "missing.dcm", "."):
        assert read_modality(tmp_path / name) is None


@pytest.mark.parametrize(
    ("positive", "alike"),
    [
        ((0.3, 0.30009, 0.3), True),
        ((0.3, 0.3003, 0.3), False),
        ((0.3, 0.3), False),  # two may be alike by chance
        ((), False),
    ],
)
def test_answers_that_are_all_the_same(positive: tuple[float, ...], alike: bool) -> None:
    answers = {f"hash-{i}": {"benign": 1 - p, "malignant": p} for i, p in enumerate(positive)}
    assert (same_answer(answers) is not None) == alike


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_the_order_is_kept_whatever_the_batch(tiny_run: RunDirectory, tmp_path: Path, batch: int) -> None:
    """Of fast and slow files, and of those that cannot be read."""
    files = []
    for number in range(14):
        files.append(tmp_path / f"{number}.png")
        side = 900 if number % 4 == 0 else 32
        Image.new("L", (side, side), 10 * number).save(files[-1])
    files[5].write_text("no image")
    model, config = load_model(tiny_run.path)
    results, _ = predict.predict_images(model, config, files, choose_engine("cpu", "fp32"), batch)
    assert [result.file for result in results] == [file.as_posix() for file in files]
    assert [bool(result.error) for result in results] == [number == 5 for number in range(14)]
