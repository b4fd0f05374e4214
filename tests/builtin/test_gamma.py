"""`gamma`, Keras's numbers of layers, the paper's metric and rejection rule, and its recipes."""

import json

import numpy as np
import pytest
import torch
from timm import list_models

import mammozoo_gamma
from mammozoo import Backbone, Model, Outcome, UsageError
from mammozoo.config.loading import load
from mammozoo.evaluation.scores import accuracy_gap
from mammozoo.models.config import SYNTHETIC, read_config
from mammozoo.models.factory import build_backbone, build_strategy
from mammozoo.reproduction.paper import load_paper
from mammozoo.training.experiment import train
from mammozoo_gamma.gamma import VGG, Gamma, keras_places
from mammozoo_gamma.judging import ONE_POINT, rejection

from ..helpers import outcome, tiny

RECIPES = sorted(path.stem for path in mammozoo_gamma.register_recipes())


def empty(name: str) -> Backbone:
    with torch.device("meta"):
        return build_backbone(name)


def learning(text: str, backbone: Backbone) -> list[str]:
    model = Model(backbone, torch.nn.Identity(), ("benign", "malignant"))
    chosen = {id(p) for p in build_strategy(text).trainable(model)}
    return [name for name, p in backbone.named_parameters() if id(p) in chosen and name.endswith("weight")]


def test_the_numbers_of_keras_and_exactly_one_numbering() -> None:
    """`[layer.name for layer in keras.applications.VGG16(include_top=False).layers]`: input_1, block1_conv1, …, block5_pool."""
    assert keras_places(VGG["VGG16"]) == [1, 2, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17]
    assert keras_places(VGG["VGG19"]) == [1, 2, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20]
    with pytest.raises(UsageError, match=r"gamma:layer=8.*gamma:keras=10"):
        Gamma()
    with pytest.raises(UsageError, match=r"'layer' and 'keras'"):
        Gamma(layer=3, keras=4)


#: Convolutions of timm's `features` in each block.
VGG16 = {1: [0, 2], 2: [5, 7], 3: [10, 12, 14], 4: [17, 19, 21], 5: [24, 26, 28]}
VGG19 = {1: [0, 2], 2: [5, 7], 3: [10, 12, 14, 16], 4: [19, 21, 23, 25], 5: [28, 30, 32, 34]}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("vgg16", "gamma:keras=10", [*VGG16[4], *VGG16[5]]),  # a pooling layer: what follows it
        ("vgg16", "gamma:keras=8", [*VGG16[3][1:], *VGG16[4], *VGG16[5]]),  # block3_conv2
        ("vgg16", "gamma:keras=0", [i for block in VGG16.values() for i in block]),
        ("vgg16", "gamma:8", [*VGG16[4], *VGG16[5]]),
        ("vgg16", "gamma:layer=6", [*VGG16[3][1:], *VGG16[4], *VGG16[5]]),
        ("torchvision/vgg16", "gamma:keras=10", [*VGG16[4], *VGG16[5]]),
        ("vgg19", "gamma:keras=17", VGG19[5]),
        ("vgg19", "gamma:keras=15", [*VGG19[4][3:], *VGG19[5]]),
    ],
)
def test_what_learns(name: str, text: str, expected: list[int]) -> None:
    found = [weight.removeprefix("net.") for weight in learning(text, empty(name))]
    assert found == [f"features.{i}.weight" for i in expected]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("test_resnet", "gamma:keras=3", ["VGG16", "VGG19", "gamma:layer"]),
        ("vgg16", "gamma:keras=18", ["from 0 to 17", "18"]),
        ("vgg16", "gamma:keras=-1", ["from 0 to 17"]),
        ("vgg16", "gamma:14", ["layers 1 to 13"]),
    ],
)
def test_places_out_of_range(name: str, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        learning(text, empty(name))
    assert all(word in str(caught.value) for word in words)


# The metric and the rejection rule of the paper.


def test_auc_of_one_point_by_hand_in_the_paper_and_for_two_classes_alone() -> None:
    """Of four positives three are called, of six negatives two: ½ · (1 + 3/4 − 2/6)."""
    ten = outcome([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.8, 0.6, 0.3, 0.7, 0.5, 0.3, 0.2, 0.1, 0.1])
    assert ONE_POINT.value(ten) == pytest.approx((1 + 3 / 4 - 2 / 6) / 2)
    assert np.isnan(ONE_POINT.value(outcome([1, 1], [0.1, 0.9])))
    labels = np.repeat([1, 1, 0, 0], [2547, 453, 652, 2348])
    called = np.repeat([0.9, 0.1, 0.9, 0.1], [2547, 453, 652, 2348])
    assert ONE_POINT.value(outcome(labels.tolist(), called.tolist())) == pytest.approx(0.816, abs=5e-4)
    assert ONE_POINT.keys(("a", "b", "c")) == {}
    assert ONE_POINT.keys(("a", "b")) == {"auc-one-point": None}


def right(count: int, of: int, groups: int) -> Outcome:
    """`count` right decisions of `of`, each sample a group of its own."""
    return outcome([1] * of, [0.9] * count + [0.1] * (of - count), range(groups, groups + of))


def test_the_gap_by_hand_and_its_limit_of_ten_points() -> None:
    gap = accuracy_gap(right(95, 100, 0), right(32, 40, 1000))
    assert gap.value == pytest.approx(0.95 - 0.80) and gap.n == 40
    assert gap.high is not None and gap.low < 0.15 < gap.high
    assert accuracy_gap(right(3, 4, 0), right(4, 4, 10)).value == pytest.approx(-0.25)
    assert rejection(right(80, 100, 0), right(70, 100, 500)) is None  # ten exactly
    assert rejection(right(50, 100, 0), right(80, 100, 500)) is None
    reason = rejection(right(100, 100, 0), right(86, 100, 500))  # resnet-50-TL of the paper's Table 8
    assert reason is not None and "14 points" in reason and "rejects" in reason


def test_a_run_of_the_paper_that_it_rejects_is_stamped_wherever_it_goes(tmp_path, monkeypatch, command) -> None:
    """In config, card, run.json and what the model says; and a run of another paper is not."""
    monkeypatch.setattr("mammozoo_gamma.judging.MOST", -2.0)
    for paper, rejected in (("byra-2021", False), ("falconi-2020", True)):
        run = train(tiny(paper=paper), tmp_path / paper)
        said = [stamp for stamp in run.facts["stamps"] if stamp.startswith("overfitted")]
        assert len(said) == rejected and SYNTHETIC in run.facts["stamps"]
        assert list(read_config(run.path).stamps) == json.loads((run.path / "run.json").read_text())["stamps"]
        assert ("> **Overfitted" in (run.path / "README.md").read_text()) == rejected
        assert ("overfitted" in command("predict", "--example", "--model", run.path).ok.err) == rejected


# Recipes and the table of the paper.


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_say_what_the_paper_says(name: str) -> None:
    recipe = load(name)
    assert recipe.paper == "falconi-2020" and recipe.size == (320, 320)
    assert (recipe.epochs, recipe.patience, recipe.monitor) == (1000, 50, "loss")
    assert recipe.optimizer.name == "rmsprop" and recipe.optimizer.momentum == 0
    assert recipe.optimizer.lr == (1e-5 if recipe.strategy == "frozen" else 2e-7)
    assert recipe.head == ("gap-fc" if recipe.strategy in ("frozen", "gamma:keras=8") else "gap:dropout=0.2")
    assert (recipe.split.by == "image") == recipe.allow_leakage == (not recipe.split.official)


def test_every_row_is_a_recipe_on_a_network_that_exists() -> None:
    paper, networks = load_paper("falconi-2020"), set(list_models())
    assert sum(row.name.endswith("-tl") for row in paper.rows) == 17
    for row in paper.rows:
        for protocol in ("published", "sound"):
            recipe = paper.recipe(protocol, row.name)
            assert recipe.backbone in networks
            whole, _, way = row.name.rpartition("-")
            assert recipe.strategy == ("frozen" if way == "tl" else f"gamma:keras={whole.split('-')[1]}")
    for name in ("vgg16-8", "vgg16-10", "vgg19-17"):
        hidden = {"name", "summary"}
        own, row = load(f"falconi-cbis-{name}"), paper.recipe("sound", f"{name}-ft")
        assert own.model_dump(exclude=hidden) == row.model_dump(exclude=hidden)
