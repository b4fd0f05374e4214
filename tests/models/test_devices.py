"""What only a processor allows, looked for without a card: generators, TF32, pinned memory, tensors made without a device."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from mammozoo.config.recipe import Recipe, load
from mammozoo.data.splits.make import Split
from mammozoo.errors import UsageError
from mammozoo.models.device import Engine, choose_engine, without_tf32
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.randomness import generator_states, restore_generators, seed_generators, seeded
from mammozoo.training import trainer as loop
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import Checkpointer, Stopped
from mammozoo.training.experiment import train
from mammozoo.training.loss import Loss
from mammozoo.training.parallel import card_of, run_parallel
from mammozoo.training.trainer import Trainer, TrainingData

CARD = torch.device("cuda", 0)
HERE = Engine(torch.device("cpu"), torch.float32)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> torch.Generator:
    """The generator of a card that is not there."""
    generator = torch.Generator()
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "manual_seed", generator.manual_seed)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: generator.get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: generator.set_state(state))
    return generator


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
    """The card is a neighbour's. Dropout, augmentation and the search for a border draw numbers."""

    def start() -> None:
        raise AssertionError("CUDA was started")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "_lazy_init", start)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: start())
    fields: dict[str, Any] = {
        "dataset": "phantom:n=40", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "device": "cpu",
        "augment": ["hflip"], "strategy": "last-blocks:1", "head": "gap:dropout=0.5", "cache_views": 1,
        "optimizer": {"name": "sgd"},  # torch's own Adam asks the card on every step
    }  # fmt: skip
    assert train(load(None, fields), tmp_path / "run").facts["status"] == "done"


class _Dropout(torch.nn.Module):
    """As on a card: it draws from a generator of its own."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand(x.shape, generator=self.generator) < 0.5) if self.training else x


def _fit(
    generator: torch.Generator, checkpointer: Checkpointer | None = None, stop: Callable[[], bool] = lambda: False
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The weights and the losses of a tiny network with the card's dropout after two epochs of noise."""
    recipe = Recipe.model_validate(
        {"dataset": "phantom", "backbone": "test_resnet", "weights": "random", "size": 32, "strategy": "full", "epochs": 2,
         "batch": 8}
    )  # fmt: skip
    with seeded(0):
        backbone = build_backbone(recipe.backbone)
        size = backbone.input.model_copy(update={"size": recipe.size})
        model, strategy = build_model(backbone, recipe.strategy, recipe.head, ("a", "b"), size)
    model.head = torch.nn.Sequential(_Dropout(generator), model.head)
    n = np.arange(48)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 1), np.uint8)
    data = TrainingData(pixels, n % 2, [str(i) for i in n], Split("holdout", n[:32], n[32:40], n[40:]))
    with seeded(0):
        callbacks = Callbacks(stop=stop)
        history = Trainer(model, strategy, recipe, data, HERE, callbacks, checkpointer).fit()
    return model.state_dict(), [row.train_loss for row in history]


def test_a_fit_stopped_in_an_epoch_goes_on_with_the_cards_numbers(
    card: torch.Generator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loop, "seed_generators", lambda seed, device: seed_generators(seed, CARD))
    monkeypatch.setattr(loop, "generator_states", lambda device: generator_states(CARD))
    monkeypatch.setattr(loop, "restore_generators", lambda states, device: restore_generators(states, CARD))
    whole, losses = _fit(card)
    batches = iter(range(100))
    with pytest.raises(Stopped):
        _fit(card, Checkpointer(tmp_path / "state", "key"), lambda: next(batches) == 5)
    card.manual_seed(99)  # a new process has another state
    resumed, again = _fit(card, Checkpointer(tmp_path / "state", "key"))
    assert again == losses, "those of the last epoch, whether or not it was the best"
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_a_fit_that_changes_its_device_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    generator, batches = torch.Generator(), iter(range(100))
    with pytest.raises(Stopped):
        _fit(generator, Checkpointer(tmp_path / "state", "key"), lambda: next(batches) == 5)
    keeper = Checkpointer(tmp_path / "state", "key")
    kept = keeper.load()
    assert kept is not None
    tensors, facts = kept
    del tensors["rng.cpu"]
    keeper.save(tensors | {"rng.cuda": torch.zeros(16, dtype=torch.uint8)}, facts | {"device": "cuda"})
    _fit(generator, keeper)
    assert "begun on cuda and continued on cpu" in caplog.text


def test_float32_on_a_card_is_no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    def allowed() -> bool:
        return torch.backends.cudnn.allow_tf32

    assert allowed()
    for exact in (Engine(CARD, torch.float32).autocast(), Engine(CARD, torch.float32).exactly(), without_tf32()):
        with exact:
            assert not allowed()
        assert allowed()
    with Engine(CARD, torch.bfloat16).exactly(), HERE.exactly():
        assert allowed()


def test_backward_passes_are_exact_too(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = []

    @contextlib.contextmanager
    def exactly(engine: Engine) -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    monkeypatch.setattr(Engine, "exactly", exactly)
    backward = []

    class Watched(_Dropout):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.requires_grad:
                x.register_hook(lambda gradient: backward.append(bool(inside)))
            return x

    monkeypatch.setitem(globals(), "_Dropout", Watched)
    _fit(torch.Generator())
    assert backward and all(backward)


@pytest.mark.parametrize(
    ("backbone", "strategy", "head"),
    [
        ("resnet9", "full", "gap"), ("test_resnet", "last-blocks:1", "gap-fc"), ("test_resnet", "expdecay", "flatten-2fc"),
        ("torchvision/squeezenet1_1", "gamma:3", "gap:dropout=0.5"),
    ],
)  # fmt: skip
def test_no_tensor_of_the_processor_meets_one_of_the_card(backbone: str, strategy: str, head: str) -> None:
    """Tensors without memory, on a card that is not there: torch refuses two devices in one operation."""
    with FakeTensorMode():
        with CARD:
            network = build_backbone(backbone)
            size = network.input.model_copy(update={"size": (64, 64)})
            model, _ = build_model(network, strategy, head, ("a", "b", "c"), size)
        pixels, labels = torch.zeros(4, 64, 64, 1, dtype=torch.uint8), torch.tensor([0, 1, 2, 1])
        for mode in (True, False):
            logits = model.train(mode)(size.normalize(pixels.to(CARD)))
            loss = Loss(np.array([0, 1, 2, 1]), 3, True, CARD)(logits, labels.to(CARD))
            assert logits.device == loss.device == CARD
        with pytest.raises(RuntimeError, match="devices"):
            F.cross_entropy(logits, labels)


def test_each_worker_has_one_card() -> None:
    """The first task takes long: by the tasks' numbers its card would get a second one meanwhile, and the other none."""
    done = list(run_parallel(_two_cards, [(number,) for number in range(6)], 2, "loky", torch.device("cpu")))
    cards = {worker: {card for other, card in done if other == worker} for worker, _ in done}
    assert len(cards) == 2
    assert all(len(own) == 1 for own in cards.values())
    assert set.union(*cards.values()) == {0, 1}


def _two_cards(number: int) -> tuple[str, int]:
    time.sleep(0.2 if number else 2)
    return multiprocessing.current_process().name, card_of(number, 2)


@pytest.mark.parametrize(
    ("device", "said"),
    [("cuda:7", "from 0 to 1"), ("meta", "no numbers"), ("tpu", "device type"), ("cuda", "Device 'cuda'")],
)
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, device: str, said: str) -> None:
    if device == "cuda:7":
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    elif torch.cuda.is_available() and device == "cuda":
        pytest.skip("there is one")
    with pytest.raises(UsageError, match=said):
        choose_engine(device)
