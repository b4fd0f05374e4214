"""Explanations: heat where it must be, models left as found, scores against masks by hand, refusals."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mammozoo import Backbone, Input, Model
from mammozoo.data.io.listing import masks_beside
from mammozoo.evaluation.cases import free_stems, of_files
from mammozoo.evaluation.explain import (
    METHODS,
    TOLERANCE,
    classify,
    heat,
    hottest,
    localise,
    overlay,
    rank_correlation,
    side_by_side,
    untrained,
)
from mammozoo.evaluation.explanations import explain_cases
from mammozoo.evaluation.scores import mean
from mammozoo.models.config import ModelConfig, Training
from mammozoo.models.device import Engine
from mammozoo.models.factory import build_backbone, build_model, load_model

CPU = Engine(torch.device("cpu"), torch.float32)


def config(backbone: str = "x", classes: tuple[str, ...] = ("benign", "malignant"), **changes: object) -> ModelConfig:
    input = Input(size=(64, 64), mean=(0.5,) * 3, std=(0.5,) * 3)
    return ModelConfig(
        name="x", backbone=backbone, strategy="frozen", head="gap", classes=classes, input=input.model_copy(update=changes),
        training=Training(dataset="x"),
    )  # fmt: skip


class Bright(Backbone):
    """A feature map of two channels, 8 pixels a cell: how bright it is, and how dark."""

    channels = 2

    def __init__(self) -> None:
        super().__init__()
        self.input = config().input
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cells = nn.functional.avg_pool2d(x[:, :1], 8) * self.scale
        return torch.relu_(torch.cat([cells, -cells], dim=1))


class Sum(nn.Module):
    """(N, 2, h, w) → (N, outputs): bright minus dark, times each weight."""

    def __init__(self, *weights: float):
        super().__init__()
        self.weights = weights

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        total = (maps[:, 0] - maps[:, 1]).mean((1, 2))
        return torch.stack([weight * total for weight in self.weights], dim=1)


def bright_square() -> np.ndarray:
    """Dark, with a bright square in rows 8 to 23 and columns 40 to 55."""
    pixels = np.full((64, 64, 1), 60, np.uint8)
    pixels[8:24, 40:56] = 250
    return pixels


@pytest.mark.parametrize("method", METHODS)
def test_heat_lies_where_the_logit_comes_from(method: str) -> None:
    model = Model(Bright(), Sum(10.0), ("benign", "malignant"))
    found = heat(model, config(), bright_square(), CPU, method=method, target=1)
    dark = heat(model, config(), bright_square(), CPU, method=method, target=0)
    assert found.shape == (64, 64)
    assert found.dtype == np.float32
    assert found.min() >= 0
    row, column = hottest(found)
    assert 8 <= row < 24 and 40 <= column < 56
    lesion = bright_square()[..., 0] > 100
    assert found[lesion].mean() > 5 * found[~lesion].mean()
    assert dark[lesion].mean() < dark[~lesion].mean(), "the first of two classes has minus the logit"


@pytest.mark.parametrize("method", METHODS)
def test_each_of_many_classes_has_its_own_heat(method: str) -> None:
    classes = ("benign", "malignant", "normal")
    model = Model(Bright(), Sum(-1.0, 2.0, 0.0), classes)
    maps = [heat(model, config(classes=classes), bright_square(), CPU, method=method, target=k) for k in range(3)]
    lesion = bright_square()[..., 0] > 100
    assert maps[1][lesion].mean() > maps[1][~lesion].mean()
    assert maps[0][lesion].mean() < maps[0][~lesion].mean()
    assert not maps[2].any(), "nothing speaks for or against a constant"


def test_without_a_target_the_decided_class_is_explained() -> None:
    for weight in (10.0, -10.0):
        model = Model(Bright(), Sum(weight), ("benign", "malignant"))
        decided, p = classify(model, config(), bright_square(), CPU)
        assert decided == int(p[1] >= 0.5)
        named = heat(model, config(), bright_square(), CPU, target=decided)
        assert np.array_equal(heat(model, config(), bright_square(), CPU), named)


def test_occlusion_is_the_fall_of_the_logit_by_hand() -> None:
    """64 = 6.4 windows of 10, moved by 5: a corner pixel is covered by one window only."""
    model = Model(Bright(), Sum(10.0), ("benign", "malignant"))
    pixels = np.full((64, 64, 1), 100, np.uint8)
    pixels[:8, :8] = 250  # one cell
    found = heat(model, config(), pixels, CPU, method="occlusion", target=1)
    x = config().input.normalize(torch.from_numpy(pixels[None]))
    covered = x.clone()
    covered[..., :10, :10] = x.mean()
    with torch.no_grad():
        assert found[0, 0] == pytest.approx((model(x) - model(covered)).item(), rel=1e-4)


@pytest.mark.parametrize(
    "name", ["test_resnet", "mobilenetv3_small_050", "torchvision/squeezenet1_1", "resnet9:width=8"]
)
def test_families_with_frozen_weights_are_left_as_found(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name)
    about = config(name, mean=backbone.input.mean, std=backbone.input.std)
    model, _ = build_model(backbone, "frozen", "gap", about.classes, about.input)
    model.train()
    modes = [module.training for module in model.modules()]
    grads = [parameter.requires_grad for parameter in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    maps = [heat(model, about, pixels, CPU, target=k) for k in (0, 1)]
    assert all(found.shape == (64, 64) and np.isfinite(found).all() and found.min() >= 0 for found in maps)
    assert modes == [module.training for module in model.modules()]
    assert grads == [parameter.requires_grad for parameter in model.parameters()]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


# ---------------------------------------------------------------- overlay


def test_overlay_leaves_the_picture_where_there_is_no_heat() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    assert np.array_equal(overlay(picture, np.zeros((6, 9))), np.repeat(picture[..., None], 3, axis=2))
    spot = np.zeros((6, 9), np.float32)
    spot[1, 7] = 3.0
    drawn = overlay(picture[..., None], spot)
    assert drawn.shape == (60, 90, 3) and drawn.dtype == np.uint8
    changed = np.abs(drawn.astype(int) - picture[..., None]).sum(axis=2)
    assert changed[40:, :50].max() == 0
    assert changed[15, 75] > 60
    assert np.array_equal(drawn, overlay(picture, spot * 100)), "the hottest point has the hottest colour"
    assert side_by_side(picture, spot, picture > 250).shape[0] == 60


# ---------------------------------------------------------------- masks


def test_scores_by_hand_and_the_middle_of_a_plateau() -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:20, 10:30] = True  # 200 of 10,000 pixels
    found = np.zeros((100, 100))
    found[12, 15], found[60, 60] = 3.0, 1.0
    place = localise(found, mask)
    assert place.heat_inside == pytest.approx(0.75)
    assert place.area_inside == pytest.approx(0.02)
    assert place.hit
    assert not place.hit_center
    even = localise(np.ones((100, 100)), mask)
    assert even.heat_inside == pytest.approx(even.area_inside)
    assert localise(found, np.zeros((100, 100), bool)) is None, "no lesion"
    assert localise(np.zeros((100, 100)), mask) is None, "no heat"
    found = np.zeros((20, 20))
    found[4:9, 10:15] = 1.0
    assert hottest(found) == (6, 12)


def test_the_pointing_game_forgives_three_percent_of_the_side() -> None:
    assert TOLERANCE == 0.03
    mask = np.zeros((100, 100), bool)
    mask[10:20, 10:20] = True
    for column, hit in ((22, True), (23, False)):  # 3 and 4 pixels from column 19
        found = np.zeros((100, 100))
        found[15, column] = 1.0
        place = localise(found, mask)
        assert place.hit is hit
        assert place.hit_by_chance == pytest.approx((100 + 4 * 30 + 4 * 4) / 10_000)  # and 4 pixels at each corner


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_a_mask_goes_where_its_image_goes(fit: str) -> None:
    image = np.zeros((120, 300), np.uint8)
    image[40:80, 130:190] = 255
    input = config(fit=fit).input
    pixels = input.preparer()(image)[..., 0]
    mask = input.fit_mask(image > 0)
    assert mask.shape == (64, 64) and mask.dtype == bool
    assert (mask != (pixels > 127)).sum() <= 2 * (mask.sum(axis=0).max() + mask.sum(axis=1).max())
    assert mask.any() and not mask[0].any()


def test_rank_correlation_and_intervals_of_whole_groups() -> None:
    values = [0.0, 1.0] * 20
    alone = mean(values, list(range(40)))
    copied = mean(values * 4, list(range(40)) * 4)  # copies are no new evidence
    taken_as_new = mean(values * 4, list(range(160)))
    assert alone.value == copied.value == 0.5
    assert copied.high == pytest.approx(alone.high, abs=1e-9)
    assert taken_as_new.high - taken_as_new.low < 0.7 * (copied.high - copied.low)
    assert mean([], []).n == 0
    assert mean([0.3], [0]).low is None
    a = np.random.default_rng(0).random((8, 8))
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, np.zeros((8, 8))) is None


# ---------------------------------------------------------------- sanity


def test_an_untrained_network_shares_no_weight_with_the_model(tiny_run) -> None:
    model, about = load_model(tiny_run.path)
    state = torch.random.get_rng_state()
    first, again, other = untrained(about, 1), untrained(about, 1), untrained(about, 2)
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's random numbers move"
    for (name, own), a, b, c in zip(
        model.named_parameters(), first.parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b)
        if a.min() < a.max():  # norms and scaling layers start at one, whatever the seed
            assert not torch.equal(own, a), name
            assert not torch.equal(a, c), name


# ---------------------------------------------------------------- many images


def test_files_of_one_name_do_not_overwrite_each_other() -> None:
    assert free_stems(["a.png", "b/a.png", "a.jpg", "A.png"]) == ["a", "b/a", "a-2", "A-3"]
    assert free_stems(["../../x.png", "/etc/x.png"]) == ["x", "etc/x"]


def test_masks_beside_an_image_and_maps_without_heat(tmp_path) -> None:
    Image.fromarray(bright_square()[..., 0]).save(tmp_path / "a.png")
    model = Model(Bright(), Sum(0.0), ("benign", "malignant"))
    cases, out = of_files([tmp_path / "a.png"]), tmp_path / "out"
    (result,) = explain_cases(model, config(), cases, CPU, out, method="grad-cam", target=1)
    assert any("no heat" in warning for warning in result.warnings)
    assert not np.load(tmp_path / "out" / "a.npy").any()
    assert (tmp_path / "out" / "a.png").is_file()
    for end in ("1).png", "1)_mask.png", "1)_mask_1.png", "1)_mask.txt", "11)_mask.png", "1)_masked.png"):
        (tmp_path / f"a ({end}").touch()
    assert [path.name for path in masks_beside(tmp_path / "a (1).png")] == ["a (1)_mask.png", "a (1)_mask_1.png"]
