"""`expdecay`: learning rates by hand, and the recipes of Chougrad 2017."""

import itertools
import math

import pytest
import torch

import mammozoo_expdecay
from mammozoo import HeadSpec, UsageError
from mammozoo.config.loading import load
from mammozoo.models.factory import build_backbone, build_strategy
from mammozoo.plugins import registry
from mammozoo.reproduction.paper import load_paper
from mammozoo_expdecay.expdecay import decay

from ..helpers import network

CLASSES = ("benign", "malignant")
RECIPES = sorted(path.stem for path in mammozoo_expdecay.register_recipes())
VARIANTS = {
    "ri": "scratch", "fe": "frozen", "1ft": "last-blocks:1", "2ft": "last-blocks:2", "3ft": "last-blocks:3", "allft": "full",
    "fted": "expdecay",
}  # fmt: skip


def rates(text: str, by: str, lr: float = 1.0) -> list[float]:
    """The rate of each group of the backbone in forward order; one in each, or this fails."""
    model, chosen = network(strategy=text)
    rate = {p: group["lr"] for group in chosen.parameter_groups(model, lr) for p in group["params"]}
    found = []
    for group in model.backbone.groups(by):  # type: ignore[arg-type]
        (one,) = {rate[p] for p in group.parameters}
        found.append(one)
    return found


def test_the_law_by_hand_with_the_whole_rate_for_the_head() -> None:
    """Four layers, λ = 3: shares of the depth 1, 2/3, 1/3, 0; or 3, 2, 1, 0 whole layers."""
    assert decay(4, 3, relative=True) == pytest.approx([0.0497871, 0.1353353, 0.3678794, 1.0], rel=1e-6)
    assert decay(4, 3, relative=False) == pytest.approx([1.234098e-4, 2.478752e-3, 0.0497871, 1.0], rel=1e-6)
    assert decay(1, 3, relative=True) == [1.0]
    model, chosen = network(strategy="expdecay")
    assert all(p.requires_grad for p in model.parameters())
    whole = {p for group in chosen.parameter_groups(model, 0.5) if group["lr"] == 0.5 for p in group["params"]}
    assert set(model.head.parameters()) <= whole


def test_rates_rise_by_depth_by_layer_and_by_block() -> None:
    found = rates("expdecay", "layer", lr=1e-3)
    assert found[-1] == 1e-3
    assert found[0] == pytest.approx(4.97871e-5, rel=1e-5)
    ratios = [after / before for before, after in itertools.pairwise(found)]
    assert ratios == pytest.approx([math.exp(3 / (len(found) - 1))] * len(ratios))
    found = rates("expdecay:per=layer", "layer")
    assert found[-4:] == pytest.approx([1.234098e-4, 2.478752e-3, 0.0497871, 1.0], rel=1e-6)
    assert found[0] == pytest.approx(math.exp(-3 * (len(found) - 1)))
    found = rates("expdecay:lam=1,per=block", "block")
    assert found == pytest.approx([math.exp(-4), math.exp(-3), math.exp(-2), math.exp(-1), 1.0])


def test_inception_has_94_layers_in_13_blocks_and_the_head_of_the_paper() -> None:
    with torch.device("meta"):
        backbone = build_backbone("inception_v3")
    assert len(backbone.groups("layer")) == 94
    assert [group.name for group in backbone.groups("block")][-4:] == ["Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"]
    assert len(backbone.groups("block")) == 13
    assert sum(factor > 1e-3 for factor in decay(94, 3, relative=False)) == 3
    spec: HeadSpec = registry().get("heads", "flatten-2fc")
    with torch.device("meta"):
        head = spec.build(2048, 8, 8, 1)
    assert [p.numel() for p in head.parameters()] == [67108864, 512, 65536, 128, 128, 1]
    assert [m.p for m in head.modules() if isinstance(m, torch.nn.Dropout)] == [0.5]


@pytest.mark.parametrize(
    ("text", "word"),
    [("expdecay:lam=-3", "lam.*-3"), ("expdecay:lam=inf", "lam.*inf"), ("expdecay:per=stage", "'per'")],
)
def test_options_out_of_range(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        build_strategy(text)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_say_what_the_paper_says(name: str) -> None:
    recipe = load(name)
    assert recipe.paper == "chougrad-2017" and recipe.backbone == "inception_v3" and recipe.size == (299, 299)
    assert (recipe.epochs, recipe.batch, recipe.patience, recipe.monitor) == (90, 128, 15, "loss")
    assert (recipe.schedule.kind, recipe.schedule.factor) == ("plateau", 0.1)
    assert recipe.optimizer.name == ("adam" if name.endswith("-ri") else "sgd")
    assert recipe.optimizer.lr == (1e-3 if recipe.strategy == "expdecay" else 1e-4)


def test_every_variant_of_the_paper_is_a_recipe_and_a_row_with_its_number() -> None:
    paper = load_paper("chougrad-2017")
    assert {row.name: paper.recipe("sound", row.name).strategy for row in paper.rows} == VARIANTS
    for name, way in VARIANTS.items():
        own = load("chougrad-bcdr" if name == "fted" else f"chougrad-bcdr-{name}")
        row = paper.recipe("sound", name)
        assert own.strategy == way
        hidden = {"name", "summary"}  # which have no effect
        assert own.model_dump(exclude=hidden) == row.model_dump(exclude=hidden)
        leaky = paper.recipe("published", name)
        assert leaky.allow_leakage and leaky.strategy == way and leaky.optimizer == own.optimizer
    reported = {row.name: row.reported for row in paper.rows}
    assert {name: score["accuracy"] for name, score in reported.items()} == {
        "ri": 0.7583, "fe": 0.9267, "1ft": 0.9417, "2ft": 0.9667, "3ft": 0.9517, "allft": 0.9267, "fted": 0.975,
    }  # fmt: skip
    assert reported["fted"]["auc"] == 0.96
