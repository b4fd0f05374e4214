"""The saved state of a fit: every generator goes on, states of version 0.1 and of other devices are read, others refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

from mammozoo.data.splits.make import Split
from mammozoo.errors import IncompatibleError, NotVerifiedError
from mammozoo.models.device import Engine
from mammozoo.models.randomness import generator_states, restore_generators, seed_generators, seeded
from mammozoo.training import trainer as loop
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import Checkpointer, Stopped, pack_optimizer, restore_optimizer
from mammozoo.training.feed import TrainingData
from mammozoo.training.trainer import Trainer

from ..helpers import network, tiny

CARD, CPU = torch.device("cuda", 0), torch.device("cpu")


class Dropout(torch.nn.Module):
    """Draws from one generator, as dropout on a graphics card draws from the card's."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand(x.shape, generator=self.generator) < 0.5) if self.training else x


def fit(
    generator: torch.Generator, checkpointer: Checkpointer | None = None, stop: Callable[[], bool] = lambda: False
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights and training losses of a tiny network with dropout after two epochs of four batches of noise."""
    recipe = tiny(strategy="full", epochs=2, batch=8)
    with seeded(0):
        model, strategy = network(size=32)
    model.head = torch.nn.Sequential(Dropout(generator), model.head)
    n = np.arange(48)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 1), np.uint8)
    data = TrainingData(pixels, n % 2, [str(i) for i in n], Split("holdout", n[:32], n[32:40], n[40:]))
    with seeded(0):
        engine, callbacks = Engine(CPU, torch.float32), Callbacks(stop=stop)
        history = Trainer(model, strategy, recipe, data, engine, callbacks, checkpointer).fit()
    return model.state_dict(), [row.train_loss for row in history]


def stopped_in_the_second_epoch(path: Path, generator: torch.Generator) -> Checkpointer:
    """The state of a fit after six of its eight batches."""
    batches = iter(range(100))
    checkpointer = Checkpointer(path, "key")
    with pytest.raises(Stopped):
        fit(generator, checkpointer, lambda: next(batches) == 5)
    return checkpointer


def assert_same(
    one: tuple[dict[str, torch.Tensor], list[float]], two: tuple[dict[str, torch.Tensor], list[float]]
) -> None:
    assert one[1] == two[1], "losses of the last epoch too, whether or not it is the best"
    assert [name for name in one[0] if not torch.equal(one[0][name], two[0][name])] == []


def test_a_state_of_version_0_1_is_continued_with_the_same_weights(tmp_path) -> None:
    """That version saved the processor's generator alone, as `rng`, and no device."""
    checkpointer = stopped_in_the_second_epoch(tmp_path / "state", torch.default_generator)
    with safetensors.safe_open(checkpointer.path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        header = json.loads(file.metadata()["fit"])
    tensors["rng"] = tensors.pop("rng.cpu")
    del header["device"], header["sha256"]
    save_file(tensors, checkpointer.path, {"fit": json.dumps(header)})
    torch.manual_seed(99)  # a new process has another state
    assert_same(fit(torch.default_generator), fit(torch.default_generator, checkpointer))


def test_the_generator_of_the_card_goes_on(card, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(loop, "seed_generators", lambda seed, device: seed_generators(seed, CARD))
    monkeypatch.setattr(loop, "generator_states", lambda device: generator_states(CARD))
    monkeypatch.setattr(loop, "restore_generators", lambda states, device: restore_generators(states, CARD))
    checkpointer = stopped_in_the_second_epoch(tmp_path / "state", card)
    card.manual_seed(99)
    assert_same(fit(card), fit(card, checkpointer))


def test_a_fit_that_changes_its_device_says_so_and_another_state_is_refused(tmp_path, caplog) -> None:
    checkpointer = stopped_in_the_second_epoch(tmp_path / "state", torch.Generator())
    saved = checkpointer.load()
    assert saved is not None
    tensors, facts = saved
    del tensors["rng.cpu"]
    checkpointer.save(tensors | {"rng.cuda": torch.zeros(16, dtype=torch.uint8)}, facts | {"device": "cuda"})
    fit(torch.Generator(), checkpointer)
    assert "started on cuda and continued on cpu" in caplog.text
    checkpointer = Checkpointer(tmp_path / "other", "key")
    assert checkpointer.load() is None
    checkpointer.save({"rng.cpu": torch.zeros(1)}, {"device": "cpu"})
    with pytest.raises(IncompatibleError, match="other"):
        Checkpointer(checkpointer.path, "another key").load()
    content = checkpointer.path.read_bytes()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        checkpointer.path.write_bytes(damaged)
        with pytest.raises(NotVerifiedError, match="other"):
            checkpointer.load()


def test_moments_lie_in_memory_as_their_parameters_do() -> None:
    """Fused optimizers, which cards have, take no others; the file has them contiguous."""
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

    def optimizer() -> torch.optim.Optimizer:
        return torch.optim.AdamW(layer.parameters(), fused=True)

    first, second = optimizer(), optimizer()
    layer(torch.rand(1, 3, 5, 5)).sum().backward()
    first.step()
    tensors, groups = pack_optimizer(first)
    restore_optimizer(second, {name: tensor.contiguous() for name, tensor in tensors.items()}, groups)
    for parameter, state in second.state.items():
        assert state["exp_avg"].stride() == parameter.stride()
        assert torch.equal(state["exp_avg"], first.state[parameter]["exp_avg"])
    assert second.param_groups[0]["fused"]
    restore_optimizer(plain := torch.optim.AdamW(layer.parameters()), tensors, groups)
    assert not plain.param_groups[0]["fused"]  # begun on a card, continued on a processor
