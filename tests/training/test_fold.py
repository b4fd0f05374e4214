"""One fit: it starts from the prepared network, leaves it as it was, and is read back as it was returned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mammozoo.config.recipe import load
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.fit_spec import fit_specs
from mammozoo.training.fold import FitResult, read_result, train_fold
from mammozoo.training.prepare import PreparedRun, prepare


@pytest.fixture
def prepared() -> PreparedRun:
    """Two folds, in which everything learns and dropout draws numbers."""
    return prepare(
        load(None, {
            "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "augment": [],
            "device": "cpu", "strategy": "full", "head": "gap:dropout=0.3", "split.folds": 2,
        })
    )  # fmt: skip


def fit(prepared: PreparedRun, number: int, run: Path) -> FitResult:
    """The result of fold `number`, trained in `run`."""
    result = train_fold(prepared, fit_specs(prepared)[number], run, Callbacks())
    assert result is not None
    return result


def test_fits_share_no_weights(prepared: PreparedRun, tmp_path: Path) -> None:
    """A fold has the bytes that it has alone, whatever was trained before it."""
    backbone = {name: tensor.clone() for name, tensor in prepared.backbone.state_dict().items()}
    start = prepared.build()[0].state_dict()
    fit(prepared, 0, tmp_path / "both")
    trained = load_file(tmp_path / "both" / "fold-0" / "model.safetensors")
    assert not all(
        torch.equal(trained[f"backbone.{name}"], backbone[name]) for name, _ in prepared.backbone.named_parameters()
    )
    assert all(torch.equal(tensor, backbone[name]) for name, tensor in prepared.backbone.state_dict().items())
    assert all(torch.equal(tensor, start[name]) for name, tensor in prepared.build()[0].state_dict().items())
    fit(prepared, 1, tmp_path / "both")
    fit(prepare(prepared.recipe), 1, tmp_path / "alone")
    for name in ("model.safetensors", "predictions.csv", "config.json"):
        assert (tmp_path / "both" / "fold-1" / name).read_bytes() == (tmp_path / "alone" / "fold-1" / name).read_bytes()


def test_a_complete_fit_is_read_back_as_it_was_returned(prepared: PreparedRun, tmp_path: Path) -> None:
    result = fit(prepared, 0, tmp_path)
    again = read_result(tmp_path, result.spec)
    assert again is not None
    assert (again.spec, again.config, again.monitor) == (result.spec, result.config, result.monitor)
    assert again.rows == [{column: str(value) for column, value in row.items()} for row in result.rows]
    (tmp_path / "fold-0" / "predictions.csv").unlink()
    assert read_result(tmp_path, result.spec) is None, "the file that is written last is missing"
