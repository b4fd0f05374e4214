"""What surrounds a prediction: reading ahead, the header's modality, and answers that are all the same."""

import dataclasses
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from mammozoo.data.io.dicom import is_for_processing, read_modality
from mammozoo.errors import IncompatibleError
from mammozoo.evaluation import predict
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predict import same_answer
from mammozoo.evaluation.predictions import Predictions, read_predictions
from mammozoo.files import write_table
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model


def _header(path: Path, **tags: str) -> Path:
    dataset = pydicom.Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    return path


def test_the_modality_is_read_from_the_header_alone_or_is_none(tmp_path) -> None:
    bare = _header(tmp_path / "bare.dcm", Modality="MG", PresentationIntentType="FOR PROCESSING", PatientID="x")
    assert read_modality(bare) == "MG"  # no preamble, no pixels
    assert is_for_processing(bare)
    marked = tmp_path / "IM0001"  # known by its content
    marked.write_bytes(b"\0" * 128 + b"DICM" + _header(tmp_path / "us.dcm", Modality="US").read_bytes())
    assert read_modality(marked) == "US"
    assert not is_for_processing(marked)
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "broken.dcm").write_bytes(np.random.default_rng(0).bytes(500))
    (tmp_path / "empty.dcm").write_bytes(b"")
    _header(tmp_path / "silent.dcm", PatientID="x")
    odd = bytearray(bare.read_bytes())
    odd[odd.index(b"CS") : odd.index(b"CS") + 2] = b"CI"  # no type of value
    (tmp_path / "odd.dcm").write_bytes(odd)
    for name in ("a.png", "odd.dcm", "broken.dcm", "empty.dcm", "silent.dcm", "missing.dcm", "."):
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
def test_the_order_is_kept_whatever_the_batch(tiny_run, tmp_path, batch: int) -> None:
    """Of fast and slow files, and of those that cannot be read."""
    files = []
    for number in range(14):
        files.append(tmp_path / f"{number}.png")
        side = 900 if number % 4 == 0 else 32
        Image.new("L", (side, side), 10 * number).save(files[-1])
    files[5].write_text("no image")
    model, config = load_model(tiny_run.path)
    results, _ = predict.predict_images(model, config, files, choose_engine("cpu", "fp32"), batch, force=True)
    assert [result.file for result in results] == [file.as_posix() for file in files]
    assert [bool(result.error) for result in results] == [number == 5 for number in range(14)]


# ---------------------------------------------------------------- the table of predictions


def test_rows_in_memory_are_those_of_the_file_also_of_three_classes(tiny_run) -> None:
    stored = read_predictions(tiny_run.path)
    again = Predictions.from_rows(stored.rows(), stored.outcome.classes)
    for one, other in ((stored, again), (stored.outcome, again.outcome)):
        for field in dataclasses.fields(one):
            if field.name not in ("outcome", "classes", "meta"):
                np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)
    assert set(stored.meta) == set(again.meta)
    zero = stored.cut_at(np.zeros(len(stored)))
    assert (Predictions.from_rows(zero.rows(), stored.outcome.classes).cuts == 0).all()
    p = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    text = np.array(["x", "y"])
    outcome = Outcome(("a", "b", "c"), np.array([1, 2]), p, decide(p, 0.5), np.arange(2))
    three = Predictions(text, text, text, text, text, outcome, np.full(2, np.nan), {"device": text})
    again = Predictions.from_rows(three.rows(), outcome.classes)
    assert np.isnan(again.cuts).all()
    assert again.meta["device"].tolist() == ["x", "y"]
    assert again.cut_at(np.zeros(2)) is again


@pytest.mark.parametrize("change", [{"label": "other"}, {"group": "one"}, {"p_benign": ""}])
def test_a_damaged_table_is_refused(tiny_run, tmp_path, change: dict[str, str]) -> None:
    (tmp_path / "config.json").write_bytes((tiny_run.path / "config.json").read_bytes())
    first, *rest = read_predictions(tiny_run.path).rows()
    write_table(tmp_path / "predictions.csv", [{**first, **change}, *rest])
    with pytest.raises(IncompatibleError, match=r"predictions\.csv"):
        read_predictions(tmp_path)
