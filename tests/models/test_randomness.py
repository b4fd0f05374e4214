"""torch's generators: kept, seeded and restored on the processor and on the card in use, and on no other card."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mammozoo.config.recipe import load
from mammozoo.models.randomness import generator_states, restore_generators, seed_generators, seeded
from mammozoo.training.experiment import train

CARD = torch.device("cuda", 0)


def test_the_generator_of_the_card_is_kept_too(card: torch.Generator) -> None:
    seed_generators(3, CARD)
    kept = generator_states(CARD)
    first = torch.rand(2), torch.rand(2, generator=card)
    with seeded(9, CARD):
        assert card.initial_seed() == torch.initial_seed() == 9
        torch.rand(5, generator=card)
    restore_generators(kept, CARD)
    again = torch.rand(2), torch.rand(2, generator=card)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    restore_generators({"mps": torch.zeros(1)} | kept)  # of other devices than the one in use
    assert torch.equal(torch.rand(2), first[0])


def test_training_on_the_processor_leaves_cards_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody else may use the card. Dropout, augmentation and the search for a cut point draw numbers."""

    def start() -> None:
        raise AssertionError("CUDA was started")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "_lazy_init", start)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: start())
    recipe = {
        "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "device": "cpu",
        "augment": ["hflip"], "strategy": "last-blocks:1", "head": "gap:dropout=0.5", "cache_views": 1,
        "optimizer": {"name": "sgd"},  # torch's own Adam asks the card on every step
    }  # fmt: skip
    assert train(load(None, recipe), tmp_path / "run").facts["status"] == "done"
