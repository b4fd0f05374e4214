"""What surrounds a prediction: the header's modality, and answers that are all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from mammozoo.data.reading import is_for_processing, read_modality
from mammozoo.evaluation.predict import Prediction, same_answer


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


def _answers(*positive: float | None) -> list[Prediction]:
    return [
        Prediction(str(i), None, None, None, None, [], "unreadable")
        if p is None
        else Prediction(str(i), f"sha-{i}", "benign", {"benign": 1 - p, "malignant": p}, 0.5)
        for i, p in enumerate(positive)
    ]


@pytest.mark.parametrize(
    ("positive", "alike"),
    [
        ((0.3, 0.3, 0.3), True),
        ((0.3, 0.30009, 0.3), True),
        ((0.3, 0.3003, 0.3), False),
        ((0.3, 0.3), False),  # two may be alike by chance
        ((0.3, None, 0.3), False),
        ((0.3, None, 0.3, 0.3), True),
        ((), False),
    ],
)
def test_answers_that_are_all_the_same(positive: tuple[float | None, ...], alike: bool) -> None:
    assert (same_answer(_answers(*positive)) is not None) == alike


def test_one_file_under_many_names_is_one_file() -> None:
    one = Prediction("a", "sha", "benign", {"benign": 0.7, "malignant": 0.3}, 0.5)
    assert same_answer([one] * 5) is None
