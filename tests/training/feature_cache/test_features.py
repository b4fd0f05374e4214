"""The cached trunk: the same logits, gradients and trained weights as without it, and no trunk where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mammozoo.config.names import parse
from mammozoo.data.cache import Store
from mammozoo.data.loader import batches
from mammozoo.data.preprocessing import Input
from mammozoo.data.transforms import build
from mammozoo.models.backbone import Backbone
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.factory import build_backbone, build_model, build_strategy
from mammozoo.models.head import HeadSpec
from mammozoo.models.model import Model, assemble
from mammozoo.training.feature_cache.cut_point import find_cut_point, run_after, run_before
from mammozoo.training.feature_cache.features import FrozenTrunk, find_trunk

CPU, CPU_BF16 = choose_engine("cpu", "fp32"), choose_engine("cpu", "bf16")
CLASSES = ("benign", "malignant")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 1), np.uint8)
EVERYTHING = np.arange(len(PIXELS))


def model_of(name: str, chosen: str, head: str = "gap", engine: Engine = CPU) -> Model:
    torch.manual_seed(0)
    backbone = build_backbone(name)
    model, _ = build_model(backbone, chosen, head, CLASSES, backbone.input.model_copy(update={"size": (64, 64)}))
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
        ("test_resnet", "frozen", "head.1", CPU_BF16),
        ("test_resnet", "last-blocks:1", "backbone.net.layer3", CPU),
        ("test_resnet", "last-blocks:1", "backbone.net.layer3", CPU_BF16),
        ("test_resnet", "gamma:6", "backbone.net.layer1", CPU),
        ("mobilenetv2_100", "last-blocks:2", "backbone.net.blocks.5.1", CPU_BF16),
        ("densenet121", "frozen", "head.1", CPU),
        ("convnext_atto", "last-blocks:1", "backbone.net.stages.3.blocks.0", CPU),
        ("torchvision/squeezenet1_1", "last-blocks:1", "backbone.features.11", CPU),
        ("resnet9:width=8", "last-blocks:1", "backbone.layer3", CPU),
    ],
)
def test_the_logits_are_those_of_the_whole_network(
    name: str, chosen: str, ends: str, engine: Engine, tmp_path: Path
) -> None:
    model = model_of(name, chosen, engine=engine)
    trunk = trunk_of(model, engine)
    assert trunk.cut.name == ends
    kept = trunk.cached(PIXELS, store=Store(tmp_path))
    assert kept is not None
    assert torch.equal(kept.logits(EVERYTHING, 12), whole_logits(model, engine))
    (file,) = tmp_path.glob("arrays/*/features.npy")
    stored = np.load(file)
    assert stored.dtype == (np.int16 if trunk.cut.dtype == torch.bfloat16 else np.float32)


def test_pooled_features_are_stored_where_the_head_begins_with_pooling() -> None:
    assert trunk_of(model_of("test_resnet", "frozen")).cut.shape == (96,)
    assert trunk_of(model_of("test_resnet", "frozen", "gap:dropout=0.5")).cut.name == "head.0"
    assert trunk_of(model_of("test_resnet", "frozen", "flatten-2fc")).cut.shape == (384,)


def learn(model: Model, logits: Callable[[Any, int], torch.Tensor], epochs: int) -> dict[str, torch.Tensor]:
    """Epochs of plain descent; `logits(chunk, epoch)` in training mode."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05, momentum=0.9)
    for epoch in range(epochs):
        torch.manual_seed(epoch)
        model.train()
        order = np.random.default_rng([0, epoch]).permutation(12)
        for chunk in (order[:6], order[6:]):
            target = torch.from_numpy(chunk % 2).float()[:, None]
            value = nn.functional.binary_cross_entropy_with_logits(logits(chunk, epoch), target)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("chosen", ["frozen", "last-blocks:1"])
@pytest.mark.parametrize("augment", [(), ("hflip", "affine")], ids=["plain", "augmented"])
def test_training_on_the_cache_gives_the_same_weights(chosen: str, augment: tuple[str, ...], tmp_path: Path) -> None:
    """With as many views as epochs; dropout in the head draws what it would have drawn."""
    steps = [build(name) for name in augment]

    def plain() -> dict[str, torch.Tensor]:
        model = model_of("test_resnet", chosen, "gap:dropout=0.3")

        def logits(chunk: Any, epoch: int) -> torch.Tensor:
            ((pixels, _, _),) = batches(PIXELS, EVERYTHING, chunk, 6, augment=steps, seed=7, epoch=epoch)
            found: torch.Tensor = model(model.backbone.input.normalize(pixels))
            return found

        return learn(model, logits, 3)

    def cached() -> dict[str, torch.Tensor]:
        model = model_of("test_resnet", chosen, "gap:dropout=0.3")
        trunk = trunk_of(model)
        kept = trunk.cached(PIXELS, views=3, augment=augment, seed=7, store=Store(tmp_path))
        assert kept is not None
        return learn(model, lambda chunk, epoch: kept.train_logits(chunk, epoch), 3)

    without, first, second = plain(), cached(), cached()
    assert any(not torch.equal(a, b) for a, b in zip(without.values(), model_state(chosen), strict=True))
    for name, tensor in without.items():
        assert torch.equal(first[name], tensor), name
        assert torch.equal(second[name], first[name]), name


def model_state(chosen: str) -> list[torch.Tensor]:
    return list(model_of("test_resnet", chosen, "gap:dropout=0.3").state_dict().values())


def test_views_come_round() -> None:
    trunk = trunk_of(model_of("test_resnet", "frozen"))
    kept = trunk.cached(PIXELS, views=2, augment=["hflip", "affine"], store=Store(limit=0))
    assert kept is not None
    assert [kept.view_of(epoch) for epoch in range(4)] == [0, 1, 0, 1]
    one, two, plain = (kept.batch(EVERYTHING, view) for view in (0, 1, None))
    assert not torch.equal(one, two) and not torch.equal(one, plain)
    bare = trunk.cached(PIXELS, views=2, store=Store(limit=0))
    assert bare is not None and bare.view_of(5) is None
    assert torch.equal(bare.batch(EVERYTHING), plain)


def test_planning_and_caching_leave_the_model_as_it_was(tmp_path: Path) -> None:
    model = model_of("test_resnet", "last-blocks:1").train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.random.get_rng_state()
    kept = trunk_of(model).cached(PIXELS, store=Store(tmp_path))
    assert kept is not None
    kept.batch(EVERYTHING)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def entries(folder: Path) -> int:
    return len(list(folder.glob("arrays/*")))


def test_folds_share_the_trunk_and_other_weights_do_not(tmp_path: Path) -> None:
    def keep(change: Callable[[Model], object] = lambda model: None, pixels: Any = PIXELS, **options: Any) -> None:
        model = model_of("test_resnet", options.pop("chosen", "frozen"))
        change(model)
        kept = trunk_of(model).cached(pixels, store=Store(tmp_path), **options)
        assert kept is not None
        kept.batch(EVERYTHING[:2], kept.view_of(0))

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


def test_an_entry_that_no_longer_agrees_with_the_network_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a change in code that the key does not see."""
    trunk = trunk_of(model_of("test_resnet", "frozen"))
    kept = trunk.cached(PIXELS, store=Store(tmp_path))
    assert kept is not None
    right = kept.batch(EVERYTHING)
    store, what = Store(tmp_path), {**kept.key, "augment": None}
    store.remove(what)
    store.put(what, {"features": np.zeros((12, 96), np.float32), "probe": np.zeros((2, 96), np.float32)})
    again = trunk.cached(PIXELS, store=store)
    assert again is not None and torch.equal(again.batch(EVERYTHING), right)
    assert "computed again" in caplog.text


def test_without_a_disk_it_stays_in_memory_and_beyond_the_limit_there_is_none(tmp_path: Path) -> None:
    model = model_of("test_resnet", "frozen")
    trunk = trunk_of(model)
    (tmp_path / "file").write_text("not a folder")
    kept = trunk.cached(PIXELS, store=Store(tmp_path / "file"))
    assert kept is not None and torch.equal(kept.logits(EVERYTHING, 12), whole_logits(model))
    size = 12 * 96 * 4
    assert trunk.cached(PIXELS, limit=size, store=Store(tmp_path)) is not None
    assert trunk.cached(PIXELS, limit=size - 1, store=Store(tmp_path)) is None
    assert trunk.cached(PIXELS, views=2, augment=["hflip"], limit=2 * size, store=Store(tmp_path)) is None


@pytest.mark.parametrize("chosen", ["full", "scratch", "last-blocks:5"])
def test_no_trunk_where_everything_learns(chosen: str) -> None:
    assert find_trunk(model_of("test_resnet", chosen), CPU) is None


class Net(Backbone):
    """Three convolutions whose way together is `flow`."""

    def __init__(self, flow: Callable[[Net, torch.Tensor], torch.Tensor]):
        super().__init__()
        self.channels, self.input, self.flow = 3, Input(size=(16, 16)), flow
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.2)
        self.gain = nn.Parameter(torch.zeros(1))
        self.count: torch.Tensor
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.flow(self, x)


def dense(channels: int, height: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, outputs))


DENSE = HeadSpec("dense", "the flattened map through one dense layer", dense)


def border_of(flow: Callable[[Net, torch.Tensor], torch.Tensor], *learns: str) -> str | None:
    """Where the trunk of a `Net` ends when the named parts of it learn."""
    torch.manual_seed(0)
    net = Net(flow)
    model = assemble(net, DENSE, parse("dense"), CLASSES)
    build_strategy("frozen").freeze(model)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(learns) if learns else False)
    border = find_cut_point(CPU.place(model), CPU)
    return None if border is None else border.name


def counted(net: Net, x: torch.Tensor) -> torch.Tensor:
    if net.training:
        net.count += 1
    return net.c(net.b(net.a(x)))


def test_a_border_is_only_where_nothing_passes_it_by() -> None:
    assert border_of(lambda n, x: n.c(n.b(n.a(x))), "c") == "backbone.b"
    assert border_of(lambda n, x: n.c(n.b(n.a(x))), "b") == "backbone.a"
    assert border_of(lambda n, x: n.c(n.b(n.a(x))), "a") is None
    # A skip around b: its output alone does not make the logits, that of a does not either where x is added.
    assert border_of(lambda n, x: n.c(n.b(y := n.a(x)) + y), "c") == "backbone.a"
    assert border_of(lambda n, x: n.c(n.b(n.a(x)) + x), "c") is None
    # The way around is multiplied by zero today, and will not be tomorrow.
    assert border_of(lambda n, x: n.c(n.b(n.a(x))) + n.gain * x, "c", "gain") is None
    # A module used twice, in the trunk and after it.
    assert border_of(lambda n, x: n.a(n.c(n.b(n.a(x)))), "c") == "backbone.b"
    # A parallel branch that learns, joined later.
    assert border_of(lambda n, x: n.b(n.a(x)) + n.c(x), "c") is None


def test_a_trunk_is_only_what_training_mode_does_not_change() -> None:
    assert border_of(lambda n, x: n.c(n.drop(n.b(n.a(x)))), "c") == "backbone.b"
    assert border_of(lambda n, x: n.c(nn.functional.dropout(n.b(n.drop(n.a(x))), 0.1, n.training)), "c") == "backbone.a"
    assert border_of(lambda n, x: n.c(n.norm(n.a(x))), "c") == "backbone.norm"  # frozen weights, frozen statistics
    assert border_of(lambda n, x: n.c(n.norm(n.a(x))), "c", "norm") == "backbone.a"
    assert border_of(lambda n, x: n.c(n.b(n.a(x) + 0.01 * torch.rand(1) * n.training)), "c") == "backbone.a"
    assert border_of(counted, "c") is None  # whoever skips it would not count


def test_stand_ins_may_need_their_full_shape() -> None:
    """Code between modules that looks at sizes."""
    assert border_of(lambda n, x: n.c(n.b(n.a(x)[:, :, :8, 3:9].contiguous())), "c") == "backbone.b"
    assert border_of(lambda n, x: n.c(n.b(n.a(x).reshape(len(x), 3, 8, 32))), "c") == "backbone.b"


def test_in_place_work_after_the_border_does_not_reach_it() -> None:
    torch.manual_seed(0)
    net = Net(lambda n, x: n.c(nn.functional.relu_(n.a(x)).mul_(2)))
    model = assemble(net, DENSE, parse("dense"), CLASSES).eval()
    build_strategy("frozen").freeze(model)
    for parameter in net.c.parameters():
        parameter.requires_grad_(True)
    border = find_cut_point(model, CPU)
    assert border is not None and border.name == "backbone.a"
    images = torch.randn(5, 3, 16, 16)
    made = run_before(model, border.name, images)
    assert torch.equal(made, net.a(images)) and bool((made < 0).any())
    assert torch.equal(run_after(model, border, made.clone()), model(images))
