"""Cached features: the same logits, gradients and trained weights as without a cache, and no cache where that cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mammozoo.data.cache import Store
from mammozoo.data.loader import batches
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.model import Model
from mammozoo.training.feature_cache.features import FrozenTrunk, find_trunk

from ...helpers import network

CPU, CPU_BF16 = choose_engine("cpu", "fp32"), choose_engine("cpu", "bf16")
CLASSES = ("benign", "malignant")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 1), np.uint8)
EVERYTHING = np.arange(len(PIXELS))


def model_of(name: str, chosen: str, head: str = "gap", engine: Engine = CPU) -> Model:
    model, _ = network(name, chosen, head)
    with torch.no_grad():  # random networks start with branches scaled by zero, which would hide mistakes
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) * 0.2)
    return engine.place(model)


def trunk_of(model: Model, engine: Engine = CPU) -> FrozenTrunk:
    trunk = find_trunk(model, engine)
    assert trunk is not None
    return trunk


def whole_logits(model: Model, engine: Engine = CPU) -> torch.Tensor:
    loader = batches(PIXELS, EVERYTHING, EVERYTHING, 12)
    return engine.logits(model, loader, model.backbone.input)[0]


@pytest.mark.parametrize(
    ("name", "chosen", "ends", "engine"),
    [
        ("test_resnet", "frozen", "head.1", CPU),
        ("test_resnet", "last-blocks:1", "backbone.net.layer3", CPU),
        ("test_resnet", "last-blocks:1", "backbone.net.layer3", CPU_BF16),
        ("mobilenetv2_100", "last-blocks:2", "backbone.net.blocks.5.1", CPU_BF16),
        ("densenet121", "frozen", "head.1", CPU),
        ("convnext_atto", "last-blocks:1", "backbone.net.stages.3.blocks.0", CPU),
        ("torchvision/squeezenet1_1", "last-blocks:1", "backbone.features.11", CPU),
        ("resnet9:width=8", "last-blocks:1", "backbone.layer3", CPU),
    ],
)
def test_the_logits_are_those_of_the_whole_network(name: str, chosen: str, ends: str, engine: Engine, tmp_path) -> None:
    model = model_of(name, chosen, engine=engine)
    trunk = trunk_of(model, engine)
    assert trunk.cut.name == ends
    cached = trunk.cached(PIXELS, store=Store(tmp_path))
    assert torch.equal(cached.logits(EVERYTHING, 12), whole_logits(model, engine))
    (file,) = tmp_path.glob("arrays/*/features.npy")
    stored = np.load(file)
    assert stored.dtype == (np.int16 if trunk.cut.dtype == torch.bfloat16 else np.float32)


def test_pooled_features_are_stored_and_views_come_round() -> None:
    assert trunk_of(model_of("test_resnet", "frozen")).cut.shape == (96,)
    assert trunk_of(model_of("test_resnet", "frozen", "gap:dropout=0.5")).cut.name == "head.0"
    assert trunk_of(model_of("test_resnet", "frozen", "flatten-2fc")).cut.shape == (384,)
    trunk = trunk_of(model_of("test_resnet", "frozen"))
    cached = trunk.cached(PIXELS, views=2, augment=["hflip", "affine"], store=Store(limit=0))
    assert [cached.view_of(epoch) for epoch in range(4)] == [0, 1, 0, 1]
    one, two, plain = (cached.batch(EVERYTHING, view) for view in (0, 1, None))
    assert not torch.equal(one, two) and not torch.equal(one, plain)
    bare = trunk.cached(PIXELS, views=2, store=Store(limit=0))
    assert bare.view_of(5) is None
    assert torch.equal(bare.batch(EVERYTHING), plain)


def test_finding_a_trunk_and_caching_leave_the_model_as_it_was(tmp_path) -> None:
    model = model_of("test_resnet", "last-blocks:1").train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.random.get_rng_state()
    cached = trunk_of(model).cached(PIXELS, store=Store(tmp_path))
    cached.batch(EVERYTHING)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def entries(folder: Path) -> int:
    return len(list(folder.glob("arrays/*")))


def test_equal_trunks_share_an_entry_and_other_weights_pixels_or_views_do_not(tmp_path) -> None:
    def keep(change: Callable[[Model], object] = lambda model: None, pixels: Any = PIXELS, **options: Any) -> None:
        model = model_of("test_resnet", options.pop("chosen", "frozen"))
        change(model)
        cached = trunk_of(model).cached(pixels, store=Store(tmp_path), **options)
        cached.batch(EVERYTHING[:2], cached.view_of(0))

    @torch.no_grad()
    def new_head(model: Model) -> None:
        for parameter in model.head.parameters():
            parameter.normal_()

    @torch.no_grad()
    def other_weights(model: Model) -> None:
        next(model.backbone.parameters())[0, 0, 0, 0] += 1e-3

    @torch.no_grad()
    def other_statistics(model: Model) -> None:
        next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).running_mean[0] += 1e-3  # type: ignore[index]

    def other_mean(model: Model) -> None:
        model.backbone.input = model.backbone.input.model_copy(update={"mean": (0.4, 0.4, 0.4)})

    keep()
    keep(new_head)
    keep(views=4)
    assert entries(tmp_path) == 1
    other_pixels = PIXELS.copy()
    other_pixels[3, 5, 5] ^= 1
    different: list[dict[str, Any]] = [
        {"change": other_weights}, {"change": other_statistics}, {"change": other_mean}, {"pixels": other_pixels},
        {"augment": ["hflip"]}, {"augment": ["hflip"], "seed": 1}, {"augment": ["hflip:p=0.4"]}, {"chosen": "last-blocks:1"},
    ]  # fmt: skip
    for number, options in enumerate(different):
        keep(**options)
        assert entries(tmp_path) == number + 2, options
    keep(augment=["hflip"], views=9)  # the first view is there already
    assert entries(tmp_path) == len(different) + 1


def test_an_entry_that_differs_from_the_network_is_computed_again(tmp_path, caplog) -> None:
    """As after a change in code that the key does not see."""
    trunk = trunk_of(model_of("test_resnet", "frozen"))
    cached = trunk.cached(PIXELS, store=Store(tmp_path))
    right = cached.batch(EVERYTHING)
    store, what = Store(tmp_path), {**cached.key, "augment": None}
    store.remove(what)
    store.put(what, {"features": np.zeros((12, 96), np.float32), "probe": np.zeros((2, 96), np.float32)})
    again = trunk.cached(PIXELS, store=store)
    assert torch.equal(again.batch(EVERYTHING), right)
    assert "computed again" in caplog.text


def test_features_stay_in_memory_without_a_disk_and_are_not_cached_beyond_the_limit(tmp_path) -> None:
    model = model_of("test_resnet", "frozen")
    trunk = trunk_of(model)
    (tmp_path / "file").write_text("not a folder")
    cached = trunk.cached(PIXELS, store=Store(tmp_path / "file"))
    assert torch.equal(cached.logits(EVERYTHING, 12), whole_logits(model))
    size = 12 * 96 * 4
    assert trunk.cached(PIXELS, limit=size, store=Store(tmp_path)) is not None
    assert trunk.cached(PIXELS, limit=size - 1, store=Store(tmp_path)) is None
    assert trunk.cached(PIXELS, views=2, augment=["hflip"], limit=2 * size, store=Store(tmp_path)) is None


@pytest.mark.parametrize("chosen", ["full", "scratch", "last-blocks:5"])
def test_no_trunk_where_everything_learns(chosen: str) -> None:
    assert find_trunk(model_of("test_resnet", chosen), CPU) is None
