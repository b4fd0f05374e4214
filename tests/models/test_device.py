"""What a processor forgives and a card does not, tested without a card: TF32, tensors made without a device, device names."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from mammozoo import Recipe, UsageError
from mammozoo.data.splits.make import Split
from mammozoo.models.device import Engine, choose_engine, without_tf32
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo.models.randomness import generator_states, restore_generators, seed_generators, seeded
from mammozoo.training.experiment import train
from mammozoo.training.feed import TrainingData
from mammozoo.training.loss import Loss
from mammozoo.training.trainer import Trainer

from ..helpers import network, tiny

CARD = torch.device("cuda", 0)
HERE = Engine(torch.device("cpu"), torch.float32)


def test_float32_on_a_card_is_not_tf32() -> None:
    def allowed() -> bool:
        return torch.backends.cudnn.allow_tf32

    assert allowed()
    for exact in (Engine(CARD, torch.float32).autocast(), Engine(CARD, torch.float32).exactly(), without_tf32()):
        with exact:
            assert not allowed()
        assert allowed()
    with Engine(CARD, torch.bfloat16).exactly(), HERE.exactly():
        assert allowed()


def test_backward_passes_are_exact_too(monkeypatch) -> None:
    inside, backward = [], []

    @contextlib.contextmanager
    def exactly(engine: Engine) -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    monkeypatch.setattr(Engine, "exactly", exactly)
    recipe = Recipe.model_validate({"dataset": "phantom", "backbone": "test_resnet", "strategy": "full", "epochs": 1})
    model, strategy = network(size=32)
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: backward.append(bool(inside)))
    n = np.arange(8)
    data = TrainingData(np.zeros((8, 32, 32, 1), np.uint8), n % 2, [str(i) for i in n], Split("a", n[:4], n[4:], n[:0]))
    Trainer(model, strategy, recipe, data, HERE).fit()
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


@pytest.mark.parametrize(
    ("device", "reason"),
    [("cuda:7", "0 to 1"), ("meta", "numbers"), ("tpu", "none of auto, cpu, cuda"), ("cuda", "'cuda'")],
)
def test_a_device_that_is_not_there(monkeypatch, device: str, reason: str) -> None:
    if device == "cuda:7":
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=reason):
        choose_engine(device)


@pytest.mark.parametrize("name, depthwise", [("mobilenetv2_100", True), ("test_resnet", False)])
def test_short_work_of_depthwise_convolutions_on_a_card_is_not_channels_last(name: str, depthwise: bool) -> None:
    """cuDNN would look for their kernels for longer than the work takes."""

    network = build_backbone(name)
    short = torch.contiguous_format if depthwise else torch.channels_last
    card = [Engine(CARD, torch.bfloat16).layout(network, images) for images in (0, 5_000, 10**6)]
    assert card == [short, short, torch.channels_last]
    assert HERE.layout(network) == torch.channels_last


def test_images_come_in_the_memory_format_of_the_model() -> None:
    seen = []

    class Looks(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.is_contiguous(memory_format=torch.channels_last))
            return images

    model = Model(Looks(), nn.Identity(), ("a", "b"))  # type: ignore[arg-type]
    images = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    model(images)
    model.layout = torch.contiguous_format
    model(images)
    assert seen == [True, False]


# ---------------------------------------------------------------- torch's generators


def test_the_generator_of_the_card_is_kept_too(card) -> None:
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


def test_training_on_the_processor_leaves_cards_alone(monkeypatch, tmp_path) -> None:
    """Somebody else may use the card. Dropout, augmentation and the search for a cut point draw numbers."""

    def start() -> None:
        raise AssertionError("CUDA was started")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "_lazy_init", start)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: start())
    sgd = {"name": "sgd"}  # torch's own Adam asks the card on every step
    recipe = tiny(augment=["hflip"], strategy="last-blocks:1", head="gap:dropout=0.5", cache_views=1, optimizer=sgd)
    assert train(recipe, tmp_path / "run").facts["status"] == "done"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_memory_that_a_batch_has_freed_is_there_for_the_next_one() -> None:
    """In a process of its own, as a new one has its pages of zeros from the system for each tensor."""
    code = """
import resource, sys, torch
from torch import nn
from mammozoo.models.device import Engine
if sys.argv[1] == "placed":
    Engine(torch.device("cpu"), torch.float32).place(nn.Linear(1, 1))
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(24):
    if step == 4:
        before = faults()
    torch.zeros(10_000_000).fill_(1)
print(faults() - before)
"""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}

    def faults(way: str, **more: str) -> int:
        command = [sys.executable, "-c", code, way]
        return int(subprocess.run(command, env=own | more, capture_output=True, text=True, check=True).stdout)

    kept, returned = faults("placed"), faults("placed", MALLOC_MMAP_THRESHOLD_="131072")
    assert kept < 0.25 * returned, "a user's own settings stay, and cost twenty times the pages of one tensor"
