"""Several fits at once: the same bytes as one after the other, and one card for each process."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import torch

from mammozoo.config.recipe import load
from mammozoo.training.experiment import Jobs, train
from mammozoo.training.parallel import card_of, run_parallel


def test_fits_at_once_give_the_same_run(tmp_path: Path) -> None:
    """Two folds behind an earlier stage each, which another process has trained."""
    recipe: dict[str, Any] = {
        "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "augment": [],
        "device": "cpu", "strategy": "full", "split.folds": 2, "stages": [{"name": "same", "val": 0.3}],
    }  # fmt: skip
    one = train(load(None, recipe), tmp_path / "one")
    two = train(load(None, recipe), tmp_path / "two", jobs=Jobs(2))
    for folder in (".", "fold-0", "fold-1", "fold-0/stages/same", "fold-1/stages/same"):
        for name in ("model.safetensors", "config.json", "predictions.csv"):
            assert (one.path / folder / name).read_bytes() == (two.path / folder / name).read_bytes(), (
                f"{folder}/{name}"
            )


def test_each_process_has_one_card() -> None:
    """The first task takes long: by the tasks' numbers its card would get a second one meanwhile, and the other none."""
    done = list(run_parallel(_two_cards, [(number,) for number in range(6)], 2, "loky", torch.device("cpu")))
    cards = {worker: {card for other, card in done if other == worker} for worker, _ in done}
    assert sorted(map(sorted, cards.values())) == [[0], [1]]


def _two_cards(number: int) -> tuple[str, int]:
    time.sleep(0.1 if number else 1)
    return multiprocessing.current_process().name, card_of(number, 2)
