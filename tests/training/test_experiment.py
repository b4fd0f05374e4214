"""A run from its recipe to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mammozoo.config.recipe import load
from mammozoo.models.backbone import Backbone
from mammozoo.training.experiment import train


def test_the_network_is_built_once_however_many_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where every backbone begins, so that it does not matter who builds it. A copy does not begin anew."""
    built: list[str] = []
    begin = Backbone.__init__

    def count(backbone: Backbone, *args: Any, **options: Any) -> None:
        built.append(type(backbone).__name__)
        begin(backbone, *args, **options)

    monkeypatch.setattr(Backbone, "__init__", count)
    recipe = {
        "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "augment": [],
        "device": "cpu", "strategy": "frozen", "split.folds": 3,
    }  # fmt: skip
    assert train(load(None, recipe), tmp_path / "run").facts["status"] == "done"
    assert len(built) == 1
