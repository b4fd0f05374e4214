"""What the checks do not know: that the things do what they are for."""

from __future__ import annotations

from pathlib import Path

import mammozoo
import numpy as np
import pytest
import torch
from mammozoo.evaluation.outcome import Outcome

from mammozoo_example import run_end
from mammozoo_example.dataset import Shapes
from mammozoo_example.head import build
from mammozoo_example.metric import youden


def test_a_patient_has_two_images_of_one_class() -> None:
    """So a split by patient is possible and needed."""
    samples = Shapes(patients=3).samples()
    assert [sample.patient for sample in samples] == ["0000", "0000", "0001", "0001", "0002", "0002"]
    assert [sample.label for sample in samples] == ["benign"] * 2 + ["malignant"] * 2 + ["benign"] * 2


def test_youden_by_hand() -> None:
    """Two of three malignant and one of two benign are right: 2/3 + 1/2 - 1."""
    labels, decisions = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 0, 1])
    half = np.full((5, 2), 0.5)
    outcome = Outcome(("benign", "malignant"), labels, half, decisions, np.arange(5))
    assert youden(outcome) == pytest.approx(2 / 3 + 1 / 2 - 1)


def test_the_head_pools_by_the_maximum() -> None:
    """A single bright position decides, wherever it is."""
    head = build(channels=1, height=4, width=4, outputs=1)
    here, there = torch.zeros(2, 1, 1, 4, 4)
    here[..., 0, 0] = there[..., 3, 2] = 5.0
    assert torch.equal(head(here), head(there))


def test_a_run_with_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe names a thing of each kind; the events write into the notebook that the user asked for."""
    monkeypatch.setenv("EXAMPLE_NOTEBOOK", str(tmp_path / "notebook.md"))
    run = mammozoo.train("example", out=tmp_path / "run", epochs=1, strategy="example-norms")
    assert run.facts["plugins"]["mammozoo-example"] == "0.1.0"
    assert "example-youden" in run.facts["scores"]
    notebook = (tmp_path / "notebook.md").read_text()
    epoch, done = notebook.splitlines()
    assert epoch.startswith("- run, holdout, epoch 1: validation loss ")
    assert done.startswith("- run is done: auc ")

    monkeypatch.delenv("EXAMPLE_NOTEBOOK")  # others who have this package installed get no files from it
    run_end(run=run)
    assert (tmp_path / "notebook.md").read_text() == notebook
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebook.md", "run"]


def test_the_model_of_its_zoo_tells_discs_from_stars() -> None:
    """On patients that it was not trained on. `load` compares every byte with the hashes in zoo.yaml."""
    classifier = mammozoo.load("example-shapes-net")
    data = Shapes(patients=140)
    unseen = [sample for sample in data.samples() if sample.patient is not None and int(sample.patient) >= 100]
    found = classifier.predict([data.read(sample) for sample in unseen])
    right = [prediction.label == sample.label for prediction, sample in zip(found, unseen, strict=True)]
    assert np.mean(right) > 0.9
