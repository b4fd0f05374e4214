"""The training loop: it learns, keeps the best epoch, and changes nothing that is frozen."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from mammozoo.config.recipe import Recipe
from mammozoo.data.splits.make import Split
from mammozoo.errors import FailedError
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model, has_folded_batch_norm
from mammozoo.models.strategy import Composite
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.feed import TrainingData
from mammozoo.training.history import EpochRow
from mammozoo.training.trainer import Trainer

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


def test_patience_ends_it_early_and_the_weights_of_the_best_epoch_remain() -> None:
    """The second phase ruins what the first has learnt."""
    data = _data()
    recipe = _recipe(phases=[{"epochs": 3, "lr": 3e-3}, {"epochs": 2, "name": "adam", "lr": 1.0}])
    model, rows = _trained(recipe, data)
    best = min(rows, key=lambda row: row.val_loss)
    assert best.epoch <= 3 and rows[-1].val_loss > best.val_loss + 0.05
    assert max(row.epoch for row in rows if row.best) == best.epoch
    assert _untrained(model, recipe, data).validate()[0] == best.val_loss
    recipe = _recipe(phases=[{"epochs": 2, "lr": 3e-3}, {"epochs": 20, "name": "sgd", "lr": 3.0}], patience=2)
    model, rows = _trained(recipe, data)
    last_best = max(row.epoch for row in rows if row.best)
    assert len(rows) == last_best + 2 < 22
    value, _ = _untrained(model, recipe, data).validate()
    assert value == min(row.val_loss for row in rows)


@pytest.mark.parametrize(("monitor", "choose"), [("auc", max), ("brier", min), ("loss", min)])
def test_the_best_epoch_is_the_one_by_the_metrics_direction(monitor: str, choose: Callable[..., float]) -> None:
    """The history has the metric's own value, never its negative."""
    _, rows = _trained(_recipe(monitor=monitor, epochs=4, batch=8), _data())
    values = [row.monitor for row in rows]
    assert min(values) >= 0
    assert [row for row in rows if row.best][-1].monitor == choose(values)


@pytest.mark.parametrize("strategy", ["frozen", "last-blocks:1"])
def test_cached_features_change_nothing(strategy: str) -> None:
    """With as many views as epochs: the same epochs and weights up to rounding, and the same bits again from the store."""
    data, fields = _data(), {"strategy": strategy, "epochs": 3, "batch": 8, "head": "gap:dropout=0.2"}
    augmented = _recipe(**fields, augment=["hflip", "affine"], cache_views=3)
    plain, slow = _trained(augmented.model_copy(update={"cache": False}), data)
    cached, fast = _trained(augmented, data)
    again, _ = _trained(augmented, data)
    for a, b in zip(slow, fast, strict=True):
        assert (a.train_loss, a.val_loss) == pytest.approx((b.train_loss, b.val_loss), rel=1e-5)
        assert a.best == b.best
    for (name, x), y in zip(plain.state_dict().items(), cached.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6, msg=name)
        assert torch.equal(again.state_dict()[name], y), name


def test_each_phase_trains_with_its_own_optimizer() -> None:
    """SGD so slow that no float32 weight changes, then Adam: the weights stand still in phase 1 and move in phase 2."""
    sgd, adam = {"epochs": 2, "name": "sgd", "lr": 1e-30, "momentum": 0}, {"epochs": 1, "name": "adam", "lr": 3e-3}
    recipe = _recipe(phases=[sgd, adam])
    model, strategy = _model(recipe)
    seen: list[tuple[int, float, torch.Tensor]] = []

    def look(row: EpochRow) -> None:
        seen.append((row.phase, row.lr, model.head.state_dict()[next(iter(model.head.state_dict()))].clone()))

    start = next(iter(model.head.state_dict().values())).clone()
    Trainer(model, strategy, recipe, _data(), CPU, Callbacks(on_epoch=look)).fit()
    assert [(phase, lr) for phase, lr, _ in seen] == [(1, 1e-30), (1, 1e-30), (2, 3e-3)]
    assert torch.equal(seen[1][2], start)
    assert not torch.equal(seen[2][2], start)


def test_the_training_part_alone_decides_the_class_weights() -> None:
    """8 of 32 training images are of class 1, and half of the validation images."""
    labels = [0] * 96
    labels[0::12] = [1] * 8
    labels[1::6] = [1] * 16
    recipe = _recipe()
    model, _ = _model(recipe)
    assert _untrained(model, recipe, _data(labels)).loss.weights.tolist() == pytest.approx([32 / 48, 32 / 16])


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
    assert has_folded_batch_norm(model.backbone) is not moves, (
        "what was folded stays so for the training after this one"
    )
    weight = "backbone." + next(name for name, _ in start.backbone.named_parameters())
    assert not torch.equal(start.state_dict()[weight], model.state_dict()[weight])  # the rest learns


def test_a_loss_that_is_not_a_number_and_an_undefined_monitor_are_errors() -> None:
    with pytest.raises(FailedError, match=r"image-\d+, image-\d+"):
        _trained(_recipe(optimizer={"lr": 1e30}, batch=8), _data())
    labels = [i % 2 if i % 3 != 1 else 0 for i in range(96)]
    with pytest.raises(FailedError, match=r"auc.*monitor=loss"):
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
