"""A model that was trained on a graphics card, and the built-in one: used there, and on the processor."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.gpu

Answers = Callable[..., str]


def spread(values: Iterable[float]) -> float:
    """Largest less smallest: where all are alike, two devices cannot differ."""
    return float(np.ptp(list(values)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of grey images, more than a batch of them."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(9):
        pixels = (rng.rayleigh(15 + 5 * number, (80, 90))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("model", ["the run", "the built-in model"])
def test_predictions_are_those_of_the_processor(
    device: str, model: str, trained: Path, images: Path, answers: Answers
) -> None:
    chosen = ("--model", trained) if model == "the run" else ()
    here, there = (
        json.loads(answers("predict", images, *chosen, "--batch", "4", "--device", place, "--json"))["results"]
        for place in (device, "cpu")
    )
    assert [row["file"] for row in here] == [row["file"] for row in there]
    assert len(here) == 9
    for a, b in zip(here, there, strict=True):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=0.01)
    assert spread(row["probabilities"]["malignant"] for row in there) > 0.04


def test_scores_are_those_of_the_processor(device: str, trained: Path, answers: Answers, tmp_path: Path) -> None:
    words = ("evaluate", trained, "--dataset", "phantom:n=40,seed=3", "--json")
    for out, place in (("here", device), ("there", "cpu")):
        assert json.loads(answers(*words, "--device", place, "--csv", f"{out}.csv"))["scores"]["auc"]["n"] == 40
    here, there = (list(csv.DictReader((tmp_path / f"{out}.csv").open(encoding="utf-8"))) for out in ("here", "there"))
    assert spread(float(row["p_malignant"]) for row in there) > 0.1
    for a, b in zip(here, there, strict=True):
        assert a["sample"] == b["sample"]
        assert float(a["p_malignant"]) == pytest.approx(float(b["p_malignant"]), abs=0.01)


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_explanations_are_those_of_the_processor(
    device: str, method: str, trained: Path, images: Path, answers: Answers, tmp_path: Path
) -> None:
    for out, place in (("here", device), ("there", "cpu")):
        answers("explain", trained, images, "--method", method, "--device", place, "--out", out)
    maps = [path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.npy")]
    assert maps and list((tmp_path / "here").rglob("*.png"))
    here, there = (np.stack([np.load(tmp_path / out / name) for name in maps]) for out in ("here", "there"))
    assert np.ptp(there) > 0  # one alone may be zero everywhere: nothing speaks for the class
    assert np.abs(here - there).mean() <= 0.05 * np.ptp(there)


def test_a_diagnosis_is_that_of_the_processor(device: str, trained: Path, answers: Answers) -> None:
    here, there = (
        json.loads(
            answers("diagnose", trained, "--dataset", "phantom:n=40", "--images", "8", "--device", place, "--json")
        )
        for place in (device, "cpu")
    )
    assert len(here["blocks"]) == len(there["blocks"]) > 1
    for a, b in zip(here["blocks"], there["blocks"], strict=True):
        assert a == pytest.approx(b, abs=0.02)
