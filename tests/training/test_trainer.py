"""The loop: that it learns, keeps the best epoch, and moves nothing that it must not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Phase
from mammozoo.data.splits.make import Split
from mammozoo.errors import FailedError
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model, has_folded_batch_norm
from mammozoo.models.strategy import Composite
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.loss import Loss
from mammozoo.training.optimizer import make_optimizer
from mammozoo.training.trainer import EpochRow, Trainer, TrainingData

CPU = choose_engine("cpu", "fp32")
CLASSES = ("benign", "malignant")
BASE = {
    "dataset": "phantom", "backbone": "test_resnet", "weights": "random", "size": 32, "strategy": "full", "precision": "fp32",
    "optimizer": {"lr": 3e-3},
}  # fmt: skip


def _recipe(**fields: object) -> Recipe:
    return Recipe.model_validate(BASE | fields)


def _data(labels: Sequence[int] = (0, 1) * 48) -> TrainingData:
    """Noise with a striped square somewhere: across where the label is 0, upright where it is 1."""
    rng = np.random.default_rng(0)
    truth = np.array(labels, np.intp)
    pixels = rng.integers(60, 140, (len(truth), 32, 32, 1), np.uint8)
    for image, label in zip(pixels, truth, strict=True):
        top, left = rng.integers(0, 20, 2)
        stripes = np.tile(np.array([0, 0, 110, 110], np.uint8), (12, 3))[:, :, None]
        image[top : top + 12, left : left + 12] += stripes if label else stripes.transpose(1, 0, 2)
    n = np.arange(len(truth))
    split = Split("holdout", n[n % 3 == 0], n[n % 3 == 1], n[n % 3 == 2])
    return TrainingData(pixels, truth, [f"image-{i}" for i in n], split)


def _model(recipe: Recipe, change: object = None) -> tuple[Model, Composite]:
    torch.manual_seed(recipe.seed)
    backbone = build_backbone(recipe.backbone)
    if change is not None:
        change(backbone)  # type: ignore[operator]
    size = backbone.input.model_copy(update={"size": recipe.size})
    return build_model(backbone, recipe.strategy, recipe.head, CLASSES, size)


def _trained(recipe: Recipe, data: TrainingData, change: object = None) -> tuple[Model, list[EpochRow]]:
    model, strategy = _model(recipe, change)
    return model, Trainer(model, strategy, recipe, data, CPU).fit()


def _untrained(model: Model, recipe: Recipe, data: TrainingData) -> Trainer:
    """A trainer that has not trained: it predicts and validates with the model as it is."""
    return Trainer(model, Composite([]), recipe.model_copy(update={"cache": False}), data, CPU)


def _norms(model: Model) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in model.backbone.state_dict().items() if "running_" in name}


def test_it_learns_an_easy_problem() -> None:
    data = _data()
    test = data.split.test
    recipe = _recipe(epochs=8, batch=8)
    untrained, _ = _model(recipe)
    before = roc_auc_score(data.labels[test], _untrained(untrained, recipe, data).predict(test))
    model, rows = _trained(recipe, data)
    after = roc_auc_score(data.labels[test], _untrained(model, recipe, data).predict(test))
    assert after > 0.9 > before
    assert rows[-1].train_loss < rows[0].train_loss
    assert [row.epoch for row in rows] == list(range(1, 9))


def test_the_weights_of_the_best_epoch_remain() -> None:
    """The second phase ruins what the first has learnt."""
    data = _data()
    recipe = _recipe(phases=[{"epochs": 3, "lr": 3e-3}, {"epochs": 2, "name": "adam", "lr": 1.0}])
    model, rows = _trained(recipe, data)
    best = min(rows, key=lambda row: row.val_loss)
    assert best.epoch <= 3 and rows[-1].val_loss > best.val_loss + 0.05
    assert [row.best for row in rows].count(True) >= 1
    assert max(row.epoch for row in rows if row.best) == best.epoch
    assert _untrained(model, recipe, data).validate()[0] == best.val_loss


@pytest.mark.parametrize(("monitor", "choose"), [("auc", max), ("brier", min), ("loss", min)])
def test_a_score_may_improve_either_way(monitor: str, choose: Callable[..., float]) -> None:
    """The best epoch is the one that the metric's own direction says; the history holds the metric's own value."""
    _, rows = _trained(_recipe(monitor=monitor, epochs=4, batch=8), _data())
    values = [row.monitor for row in rows]
    assert all(value >= 0 for value in values)
    assert [row for row in rows if row.best][-1].monitor == choose(values)


@pytest.mark.parametrize("strategy", ["frozen", "last-blocks:1"])
def test_a_kept_trunk_changes_nothing(strategy: str) -> None:
    """The same epochs and weights, up to rounding: without augmentation, and with as many views as epochs."""
    data = _data()
    for more in ({}, {"augment": ["hflip", "affine"], "cache_views": 3}):
        fields = {"strategy": strategy, "epochs": 3, "batch": 8, "head": "gap:dropout=0.2", **more}
        plain, slow = _trained(_recipe(**fields, cache=False), data)
        kept, fast = _trained(_recipe(**fields), data)
        for a, b in zip(slow, fast, strict=True):
            assert (a.train_loss, a.val_loss, a.best) == (
                pytest.approx(b.train_loss, rel=1e-5),
                pytest.approx(b.val_loss, rel=1e-5),
                b.best,
            )
        for (name, x), y in zip(plain.state_dict().items(), kept.state_dict().values(), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6, msg=name)


def test_patience_ends_it_early_with_the_best_weights() -> None:
    data = _data()
    recipe = _recipe(phases=[{"epochs": 2, "lr": 3e-3}, {"epochs": 20, "name": "sgd", "lr": 3.0}], patience=2)
    model, rows = _trained(recipe, data)
    last_best = max(row.epoch for row in rows if row.best)
    assert len(rows) == last_best + 2 < 22
    value, _ = _untrained(model, recipe, data).validate()
    assert value == min(row.val_loss for row in rows)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_the_optimizer_is_the_one_asked_for(name: str, kind: type[torch.optim.Optimizer]) -> None:
    model, strategy = _model(_recipe())
    made = make_optimizer(
        strategy,
        model,
        Phase.model_validate({"name": name, "lr": 0.02, "weight_decay": 0.1, "momentum": 0.7, "epochs": 1}),
    )
    assert type(made) is kind
    assert {group["lr"] for group in made.param_groups} == {0.02}
    assert {group["weight_decay"] for group in made.param_groups} == {0.1}
    if name in ("sgd", "rmsprop"):
        assert made.param_groups[0]["momentum"] == 0.7
    held = [p for group in made.param_groups for p in group["params"]]
    assert set(held) == {p for p in model.parameters() if p.requires_grad}


def test_phases_take_over_from_each_other() -> None:
    """SGD so slow that no float32 weight changes, then Adam: the weights stand still in phase 1 and move in phase 2."""
    recipe = _recipe(
        phases=[{"epochs": 2, "name": "sgd", "lr": 1e-30, "momentum": 0}, {"epochs": 1, "name": "adam", "lr": 3e-3}]
    )
    model, strategy = _model(recipe)
    seen: list[tuple[int, float, torch.Tensor]] = []

    def look(row: EpochRow) -> None:
        seen.append((row.phase, row.lr, model.head.state_dict()[next(iter(model.head.state_dict()))].clone()))

    start = next(iter(model.head.state_dict().values())).clone()
    Trainer(model, strategy, recipe, _data(), CPU, Callbacks(on_epoch=look)).fit()
    assert [(phase, lr) for phase, lr, _ in seen] == [(1, 1e-30), (1, 1e-30), (2, 3e-3)]
    assert torch.equal(seen[1][2], start)
    assert not torch.equal(seen[2][2], start)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"kind": "constant"}, [0.01, 0.01, 0.01]),
        ({"kind": "exponential", "factor": 0.5}, [0.01, 0.005, 0.0025]),
        ({"kind": "cosine"}, [0.01, 0.0075, 0.0025]),
    ],
)
def test_schedules(schedule: dict[str, object], expected: list[float]) -> None:
    _, rows = _trained(_recipe(epochs=3, schedule=schedule, optimizer={"lr": 0.01}), _data())
    assert [row.lr for row in rows] == pytest.approx(expected)


def test_class_weights_by_hand() -> None:
    """4 images, one of class 1: w = n / (K n_c) = 4/6 and 4/2."""
    labels = np.array([0, 0, 0, 1], np.intp)
    balanced = Loss(labels, 2, True, CPU.device)
    assert balanced.weights.tolist() == pytest.approx([2 / 3, 2.0])
    logits = torch.tensor([[0.3], [-1.0], [0.0], [0.7]])
    each = [np.log1p(np.exp(0.3)), np.log1p(np.exp(-1.0)), np.log(2.0), np.log1p(np.exp(-0.7))]
    by_hand = (2 / 3 * sum(each[:3]) + 2 * each[3]) / 4
    assert float(balanced(logits, torch.tensor(labels))) == pytest.approx(by_hand, rel=1e-6)
    plain = Loss(labels, 2, False, CPU.device)
    assert float(plain(logits, torch.tensor(labels))) == pytest.approx(sum(each) / 4, rel=1e-6)


def test_class_weights_of_three_classes_by_hand() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2], np.intp)
    loss = Loss(labels, 3, True, CPU.device)
    assert loss.weights.tolist() == pytest.approx([1.0, 2.0, 2 / 3])
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    each = [-1 + np.log(np.e + 2), np.log(2 + np.e**2)]  # -log softmax of class 0, of class 1
    assert float(loss(logits, torch.tensor([0, 1]))) == pytest.approx((each[0] + 2 * each[1]) / 2, rel=1e-6)


def test_the_training_part_alone_decides_the_class_weights() -> None:
    """Without balance in training and with it in validation, the first train loss tells which was counted."""
    labels = [0] * 96
    for i in range(0, 96, 12):
        labels[i] = 1  # 8 of the 32 training images
    for i in range(1, 96, 6):
        labels[i] = 1  # half of validation
    data = _data(labels)
    recipe = _recipe(epochs=1, batch=32, optimizer={"lr": 1e-30})
    model, rows = _trained(recipe, data)
    model.freeze_batch_norm = False
    loss = Loss(data.labels[data.split.train], 2, True, CPU.device)
    assert loss.weights.tolist() == pytest.approx([32 / 48, 32 / 16])
    assert rows[0].val_loss == pytest.approx(_untrained(model, recipe, data).validate()[0])


def test_a_frozen_backbone_does_not_move_not_even_its_statistics() -> None:
    recipe = _recipe(strategy="frozen", epochs=1)
    model, strategy = _model(recipe)
    before = copy.deepcopy(model.state_dict())
    moved = {}
    look = Callbacks(on_epoch=lambda row: moved.update(copy.deepcopy(model.state_dict())))
    Trainer(model, strategy, recipe, _data(), CPU, look).fit()
    assert _norms(model)  # there are some
    for name, tensor in before.items():
        assert torch.equal(tensor, moved[name]) == name.startswith("backbone."), name


@pytest.mark.parametrize(("setting", "moves"), [("auto", True), ("train", True), ("frozen", False)])
def test_the_statistics_of_trained_batch_norms(setting: str, moves: bool) -> None:
    recipe = _recipe(epochs=1, batch_norm=setting)
    before = _norms(_model(recipe)[0])
    model, _ = _trained(recipe, _data())
    after = _norms(model)
    assert all(torch.equal(before[name], after[name]) != moves for name in before)


def _fold(backbone: nn.Module) -> None:
    """As if each batch norm had been multiplied into its convolution: weight 1, mean 0, and a shift."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.constant_(module.bias, 0.1)
            assert module.running_mean is not None
            module.running_mean.zero_()


@pytest.mark.parametrize(("setting", "moves"), [("auto", False), ("train", True)])
def test_the_statistics_of_folded_batch_norms(setting: str, moves: bool) -> None:
    recipe = _recipe(epochs=1, batch_norm=setting)
    start, _ = _model(recipe, _fold)
    assert has_folded_batch_norm(start.backbone)
    assert not has_folded_batch_norm(_model(recipe)[0].backbone)
    model, _ = _trained(recipe, _data(), _fold)
    before, after = _norms(start), _norms(model)
    assert all(torch.equal(before[name], after[name]) != moves for name in before)
    weight = "backbone." + next(name for name, _ in start.backbone.named_parameters())
    assert not torch.equal(start.state_dict()[weight], model.state_dict()[weight])  # the rest learns


def test_a_loss_that_is_no_number_names_the_files() -> None:
    with pytest.raises(FailedError, match=r"image-\d+, image-\d+"):
        _trained(_recipe(optimizer={"lr": 1e30}, batch=8), _data())


def test_a_score_that_validation_cannot_have_is_an_error_and_not_silence() -> None:
    """The AUC of one class alone is undefined: no epoch would ever be the best."""
    labels = [i % 2 if i % 3 != 1 else 0 for i in range(96)]
    with pytest.raises(FailedError, match=r"validation auc became .*monitor=loss"):
        _trained(_recipe(monitor="auc", epochs=1), _data(labels))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def weights(seed: int, draws: int = 0) -> torch.Tensor:
        recipe = _recipe(epochs=1, seed=seed, augment=["hflip"])
        model, strategy = _model(_recipe())
        torch.manual_seed(seed)
        torch.rand(draws)
        Trainer(model, strategy, recipe, _data(), CPU).fit()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(0), weights(0, draws=5))  # order and augmentation hang on the recipe's seed alone
    assert not torch.equal(weights(0), weights(1))
