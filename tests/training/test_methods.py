"""Methods beside the papers': what each does to a step, that they add up, resume as if never stopped, and what is refused."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mammozoo.config.loading import load
from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Methods
from mammozoo.data.splits.make import Split
from mammozoo.errors import MammozooError, UsageError
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.plugins import registry
from mammozoo.training.average import Average
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import Checkpointer, Stopped
from mammozoo.training.feed import TrainingData, epoch_order
from mammozoo.training.fit_spec import recipe_text
from mammozoo.training.loss import Loss
from mammozoo.training.mixing import Mixing
from mammozoo.training.prepare import prepare
from mammozoo.training.step import Step
from mammozoo.training.trainer import Trainer

CPU = choose_engine("cpu", "fp32")
BASE = {
    "dataset": "phantom:n=60", "backbone": "test_resnet", "weights": "random", "size": 32, "strategy": "full",
    "precision": "fp32", "device": "cpu", "epochs": 2, "batch": 8, "optimizer": {"lr": 3e-3},
}  # fmt: skip
EVERY = {
    "label_smoothing": 0.1,
    "mixup": 0.4,
    "cutmix": 1.0,
    "ema": 0.9,
    "clip": 1.0,
    "accumulate": 2,
    "sampling": "balanced",
}


def recipe(methods: dict | None = None, **more: object) -> Recipe:
    return Recipe.model_validate({**BASE, "methods": methods or {}, **more})


def trainer(made: Recipe, checkpointer: Checkpointer | None = None, callbacks: Callbacks | None = None) -> Trainer:
    rng, n = np.random.default_rng(0), np.arange(48)
    labels = (n % 4 == 0).astype(np.intp)
    pixels = rng.integers(0, 120, (48, 32, 32, 1), np.uint8) + (labels * 90).astype(np.uint8)[:, None, None, None]
    data = TrainingData(pixels, labels, [f"image-{i}" for i in n], Split("holdout", n[:29], n[29:40], n[40:]))
    torch.manual_seed(made.seed)
    backbone = build_backbone(made.backbone)
    input = backbone.input.model_copy(update={"size": made.size})
    model, strategy = build_model(backbone, made.strategy, made.head, ("benign", "malignant"), input)
    return Trainer(model, strategy, made, data, CPU, callbacks, checkpointer)


def weights(made: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in made.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def loss(k: int, **methods: object) -> Loss:
    return Loss(np.arange(6) % k, k, False, CPU.device, Methods.model_validate(methods))


def test_plain_training_and_its_key_are_those_without_methods() -> None:
    plain = recipe()
    assert "methods" not in recipe_text(plain) and '"ema":0.9' in recipe_text(recipe({"ema": 0.9}))
    logits, labels = torch.randn(6, 1), torch.arange(6) % 2
    assert torch.equal(loss(2).of_training(logits, labels), loss(2)(logits, labels))


def test_losses_by_hand() -> None:
    labels = torch.arange(6) % 3
    logits = torch.randn(6, 3)
    smooth = loss(3, label_smoothing=0.2).of_training(logits, labels)
    assert torch.allclose(smooth, F.cross_entropy(logits, labels, label_smoothing=0.2))
    p = torch.softmax(logits, 1)[torch.arange(6), labels]
    focal = loss(3, loss="focal:gamma=3").of_training(logits, labels)
    assert torch.allclose(focal, (-((1 - p) ** 3) * p.log()).mean())
    one, binary = torch.randn(6, 1), labels.clamp_max(1)
    q = torch.where(binary == 1, torch.sigmoid(one[:, 0]), 1 - torch.sigmoid(one[:, 0]))
    assert torch.allclose(loss(2, loss="focal").of_training(one, binary), (-((1 - q) ** 2) * q.log()).mean())
    smooth = loss(2, label_smoothing=0.2).of_training(one, binary)
    assert torch.allclose(smooth, F.binary_cross_entropy_with_logits(one[:, 0], binary * 0.8 + 0.1))
    sure = torch.full((2, 1), 40.0, requires_grad=True)  # a loss of 0 has a gradient too
    loss(2, loss="focal:gamma=0.5").of_training(sure, torch.tensor([1, 1])).backward()
    assert torch.isfinite(sure.grad).all()


@pytest.mark.parametrize("n", [6, 7])
def test_mixed_images_have_the_shares_that_their_targets_say(n: int) -> None:
    labels = torch.arange(n) % 3
    images = labels.float()[:, None, None, None].expand(n, 1, 8, 8)  # each image shows its label, and class 0 is black
    mixing = Mixing(recipe({"mixup": 1.0}), 0)
    mixing.begin(3, 5)
    mixed = mixing(images)
    shares = mixing.targets(labels, 3)
    assert torch.allclose(mixed[:, 0, 0, 0], shares @ torch.arange(3.0), atol=1e-6)
    assert torch.allclose(shares.sum(1), torch.ones(n)) and 0 < shares[0, 0] < 1
    state = np.random.get_state()[1].tolist()
    assert torch.equal(mixing(images), mixed) and np.random.get_state()[1].tolist() == state
    mixing.begin(3, 6)
    assert not torch.equal(mixing(images), mixed)
    cut = Mixing(recipe({"cutmix": 1.0}), 0)
    cut.begin(0, 1)
    area = cut(images).mean((1, 2, 3))
    assert torch.allclose(area, cut.targets(labels, 3) @ torch.arange(3.0), atol=1e-5)


def test_added_batches_are_one_step_of_their_mean_gradient_and_clip_bounds_it() -> None:
    x, y = torch.randn(12, 5), torch.arange(12) % 2
    nets = [nn.Linear(5, 2)]
    nets += [copy.deepcopy(nets[0]) for _ in range(2)]
    for net, parts, clip in (
        (nets[0], [slice(0, 12)], 0),
        (nets[1], [slice(0, 6), slice(6, 12)], 0),
        (nets[2], [slice(0, 12)], 1e-3),
    ):
        step, optimizer = Step(net, F.cross_entropy, net, CPU, clip=clip), torch.optim.SGD(net.parameters(), 1.0)
        before = [p.detach().clone() for p in net.parameters()]
        for k, part in enumerate(parts):
            step(optimizer, (x[part], y[part]), 1 / len(parts), k == 0, k == len(parts) - 1)
        moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(net.parameters(), before, strict=True)]).norm()
        assert (abs(float(moved) - 1e-3) < 1e-5) == (clip > 0)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_average_is_what_is_validated_and_kept() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = Average(net, 0.5)
    for value in (1.0, 2.0):
        nn.init.constant_(net.weight, value)
        average.update()
    first = 0.9 * 1.0  # the first decay is 1/10, the second 2/11
    assert float(average.state["weight"]) == pytest.approx(first * 2 / 11 + 2.0 * 9 / 11)
    with average.in_force():
        assert float(net.weight) == float(average.state["weight"])
    assert float(net.weight) == 2.0
    made = trainer(recipe({"ema": 0.9}, epochs=1))
    made.fit()
    assert made.average.steps == 4 and same(made.average.state, made.model.state_dict())


def test_balanced_sampling_draws_classes_alike_by_seed_and_epoch_alone() -> None:
    labels = (np.arange(400) % 10 == 0).astype(np.intp)
    some = np.arange(10, 400)
    order = epoch_order(some, 16, 3, 5, labels)
    assert abs(labels[order].mean() - 0.5) < 0.08 and set(order) <= set(some)
    assert np.array_equal(order, epoch_order(some, 16, 3, 5, labels))
    assert not np.array_equal(order, epoch_order(some, 16, 3, 6, labels))


def test_all_together_stopped_anywhere_end_as_if_never_stopped(tmp_path: Path) -> None:
    made = recipe(EVERY, class_weights="none")
    whole = trainer(made)
    rows = whole.fit()
    calls = 0
    for _ in range(9):
        asked = iter([False] * 1 + [True] * 99)
        again = trainer(made, Checkpointer(tmp_path / "last.safetensors", "key"), Callbacks(stop=asked.__next__))
        try:
            found = again.fit()
            break
        except Stopped:
            calls += 1
            assert again.state.batch % 2 == 0 or again.state.batch == 4
    assert calls >= 2
    assert [row.train_loss for row in found] == [row.train_loss for row in rows]
    assert same(weights(whole), weights(again)) and not same(weights(whole), weights(trainer(made)))


@pytest.mark.parametrize(
    "methods", [{}, {"label_smoothing": 0.1}, {"ema": 0.9, "clip": 0.1}, {"sampling": "balanced"}, {"mixup": 1}]
)
def test_frozen_networks_train_with_and_without_their_cache(methods: dict) -> None:
    made = [trainer(recipe(methods, strategy="frozen", cache=cache, class_weights="none")) for cache in (True, False)]
    assert (made[0].feed.features is None) == ("mixup" in methods)
    losses = [[row.train_loss for row in one.fit()] for one in made]
    assert np.allclose(losses[0], losses[1], atol=1e-4)


@pytest.mark.parametrize(
    ("methods", "more"),
    [
        ({"sampling": "balanced"}, {}),
        ({"mixup": 0.2}, {"cache_views": 2, "augment": ["hflip"]}),
        ({"loss": "focal", "label_smoothing": 0.1}, {}),
        ({"loss": "focal", "cutmix": 1}, {}),
        ({"loss": "focal:gamma=99"}, {}),
        ({"loss": "focal:beta=1"}, {}),
        ({"loss": "fokal"}, {}),
        ({"ema": 1}, {}),
        ({"accumulate": 0}, {}),
        ({"clip": -1}, {}),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(methods: dict, more: dict, monkeypatch) -> None:
    monkeypatch.setattr("mammozoo.training.prepare.open_data", None)
    with pytest.raises(MammozooError):
        prepare(load(None, {**BASE, **more, **{f"methods.{key}": value for key, value in methods.items()}}))


def test_a_plugin_adds_a_loss(from_file) -> None:
    from_file("""
        import torch
        from mammozoo import LossSpec, hookimpl

        def brier():
            return lambda logits, labels: (torch.sigmoid(logits[:, 0]) - labels) ** 2

        @hookimpl
        def register_losses():
            return [LossSpec("brier", "squared error", build=brier)]
    """)
    assert registry().items("losses").keys() == {"cross-entropy", "focal", "brier"}
    logits, labels = torch.zeros(6, 1), torch.arange(6) % 2
    assert loss(2, loss="brier").of_training(logits, labels) == 0.25
    with pytest.raises(UsageError, match="whole labels"):
        prepare(load(None, {**BASE, "methods.loss": "brier", "methods.mixup": 1.0}))
