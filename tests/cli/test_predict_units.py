"""`mammozoo predict TABLE.csv --aggregate`: patients and breasts."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mammozoo
from mammozoo.evaluation.predictions import read_predictions, unit_names
from mammozoo.evaluation.thresholds import choose_threshold, fit_temperature
from mammozoo.evaluation.units import divided
from mammozoo.files import read_table, write_table
from mammozoo.models.config import read_config

from ..helpers import edit_config


@pytest.fixture
def women(pictures: Path) -> Path:
    """A table of eight pictures: a woman of four, one of two, one of one, and one picture of nobody."""
    lines = ["Path;Patient;Side"]
    for number, (patient, side) in enumerate(zip("AAAABBC", "LLRRLRL", strict=True)):
        lines.append(f"{pictures.name}/phantom-0-0000{number}.png;{patient};{side}")
    lines.append(f"{pictures.name}\\phantom-0-00007.png;;")
    table = pictures.parent / "women.csv"
    table.write_text("\n".join(lines))
    return table


@pytest.fixture
def run(run_copy: Path) -> Path:
    """The tiny run, with validation patients enough for an operating point: its training images count as such."""
    rows = read_table(run_copy / "predictions.csv")
    write_table(run_copy / "predictions.csv", [row | {"part": row["part"].replace("train", "val")} for row in rows])
    return run_copy


def _units(command, run, table, *words: object) -> dict:
    return command("predict", table, "--model", run, "--aggregate", *words, "--json").ok.json


@pytest.mark.parametrize("how", ["mean", "max", "noisy-or"])
def test_patients_have_a_probability_and_a_threshold_of_their_own(command, run, women: Path, how: str) -> None:
    content = _units(command, run, women, how)
    images, units = content["results"], content["units"]["predictions"]
    plain = command("predict", women, "--model", run, "--json").ok.json
    assert (plain["results"], "units" in plain) == (images, False)  # the images' rows stay as they are
    assert [(unit["unit"], unit["images"]) for unit in units] == [("A", 4), ("B", 2), ("C", 1), (images[7]["file"], 1)]
    # Each phantom is a patient, so the units of validation are its images.
    val, config = read_predictions(run).of("val"), read_config(run)
    temperature = fit_temperature(_log(val.outcome.probabilities), val.outcome.labels)
    p = divided(val.outcome.probabilities, temperature)
    cut = choose_threshold(config.threshold, val.outcome.labels, p[:, 1])
    join = {"mean": np.mean, "max": np.max, "noisy-or": lambda p: 1 - np.prod(1 - p)}[how]
    places = [range(4), range(4, 6), range(6, 7), range(7, 8)]
    for unit, its in zip(units, places, strict=True):
        positive = float(join(np.array([images[place]["probabilities"]["malignant"] for place in its])))
        expected = divided(np.array([[1 - positive, positive]]), temperature)[0, 1]
        assert unit["probabilities"]["malignant"] == pytest.approx(expected, abs=1e-9)
        assert unit["threshold"] == pytest.approx(cut, abs=1e-9)
        assert unit["label"] == ("malignant" if expected >= cut else "benign")
    assert "validation" in content["units"]["remark"]


def _log(p: np.ndarray):
    import torch

    return torch.from_numpy(np.log(p))


def test_without_an_operating_point_of_breasts_there_is_no_label(command, run, run_copy, women: Path) -> None:
    for model, by in ((run, "breast"), (run_copy, "patient")):
        if by == "patient":
            (run_copy / "predictions.csv").unlink()  # as of a model from a zoo
        content = _units(command, model, women, "max", "--by", by)
        assert all(unit["label"] is unit["threshold"] is None for unit in content["units"]["predictions"])
        assert all(unit["probabilities"] for unit in content["units"]["predictions"])
        assert f"{by} has a probability and no label" in content["units"]["remark"]
        names = [unit["unit"] for unit in content["units"]["predictions"]][:-1]
        assert names == (["A L", "A R", "B L", "B R", "C L"] if by == "breast" else ["A", "B", "C"])


def test_the_table_for_people_and_the_csv_tell_images_from_units(command, run, women: Path, tmp_path) -> None:
    images = list(csv.DictReader(women.read_text().splitlines(), delimiter=";"))
    broken = tmp_path / images[1]["Path"]
    broken.write_text("no image")
    Image.new("L", (128, 128), 50).save(tmp_path / images[6]["Path"])  # all that there is of C
    answer = command("predict", women, "--model", run, "--aggregate", "max", "--csv", "out.csv")
    assert answer.code == 1
    assert "max of the images of each patient" in answer.out and "2 images have no answer" in answer.err
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["level"] for row in rows] == ["image"] * 8 + ["patient"] * 4
    assert [row["images"] for row in rows[8:]] == ["3", "2", "0", "1"]
    assert [bool(row["label"]) for row in rows[8:]] == [True, True, False, True]
    assert "1 images without an answer" in rows[8]["warnings"] and rows[1]["error"]
    result = mammozoo.predict(women, run, aggregate="max", by="side", device="cpu")
    assert [(unit.unit, unit.images, unit.unanswered) for unit in result.units.predictions][:2] == [
        ("L", 2, 2),
        ("R", 3, 0),
    ]
    assert women.read_text().startswith("Path")


def test_what_cannot_be_aggregated_is_refused_before_any_work(
    command, tiny_run, run_copy, women: Path, pictures
) -> None:
    words = ("predict", women, "--model", tiny_run.path)
    command(*words, "--aggregate", "median").refused(2, "median", "noisy-or")
    command(*words, "--aggregate", "max", "--by", "hospital").refused(2, "hospital", "patient, side")
    command("predict", pictures, "--model", tiny_run.path, "--aggregate", "max").refused(2, "table")
    command("predict", women, pictures, "--model", tiny_run.path).refused(2, "alone")
    command(*words, "--csv", women).refused(9, "women.csv")
    women.write_text("path,patient\nnowhere.png,A\n")
    command(*words).refused(3, "nowhere.png")
    women.write_text("file,patient\nnowhere.png,A\n")
    command(*words).refused(2, "path")
    women.write_text("path,patient\n")
    command(*words).refused(3, "no image")
    women.write_text(f"path,patient_id\n{pictures.name}/phantom-0-00001.png,A\n")
    assert _units(command, tiny_run.path, women, "mean")["units"]["predictions"][0]["unit"] == "A"
    edit_config(run_copy, classes=["a", "b", "c"], thresholds={}, threshold="")
    command("predict", women, "--model", run_copy, "--aggregate", "max").refused(7)


@pytest.mark.parametrize(
    "columns",
    [
        {"left or right breast": "LRRL"},
        {"Image Laterality": "LRRL"},
        {"breast": "LRRL"},  # no name of a breast: two women would be one
        {"path": ["A_L_CC.png", "A_R_MLO.png", "x/B-R.png", "B_LMLO.dcm"]},
        {"id": ["A_left.png", "A_right.png", "B_Right.png", "B LEFT 2.png"], "view": "1111"},
    ],
)
def test_the_side_of_a_breast_is_told_by_many_columns_and_by_names(columns: dict) -> None:
    table = {name: np.array([*texts], str) for name, texts in columns.items()} | {"patient": np.array([*"AABB"])}
    names = unit_names(table, "breast")
    assert names is not None and [name.upper()[:3] for name in names] == ["A L", "A R", "B R", "B L"]


def test_names_that_do_not_all_tell_the_side_tell_none() -> None:
    patients = np.array([*"AABB"])
    for files in (["A_L.png", "A_R.png", "B_1.png", "B_2.png"], ["liver.png", "LR.png", "real.png", "cell.png"]):
        assert unit_names({"path": np.array(files), "patient": patients}, "breast") is None
    own = np.array(["A1", "A2", "B1", "B1"])
    assert unit_names({"breast": own, "patient": patients}, "breast") is own
