"""Every shipped recipe trains, on a small tree in the layout of its data set.

The network, its input, the epochs and the folds are made small. Everything else is the recipe's own: the data set with its
options, classes, split, preprocessing, augmentation, strategy, head, optimizers and stages.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mammozoo.config.loading import load
from mammozoo.config.names import parse
from mammozoo.config.recipe import Recipe
from mammozoo.models.config import LEAKY
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.plugins import registry
from mammozoo.training.experiment import train

from .trees.bcdr import bcdr_f03
from .trees.cbis_ddsm import cbis_ddsm, rows
from .trees.pictures import breakhis, busi, folder, mendeley


def cbis(root: Path) -> Path:
    """Masses alone, each in a place of its own: bright lesions in one place would make near-duplicates of all."""
    masses = [row for row in rows() if row.kind == "mass"][:24]
    places = [(2 + 17 * i % 36, 2 + 11 * i % 40) for i in range(len(masses))]
    boxes = [(left, top, left + 14, top + 12) for left, top in places]
    return cbis_ddsm(root, lesions=[replace(row, box=box) for row, box in zip(masses, boxes, strict=True)])


TREES: dict[str, Callable[[Path], Path]] = {  # as many images as two folds need
    "busi": busi, "cbis-ddsm": cbis, "bcdr-f03": lambda root: bcdr_f03(root, patients=16),
    "folder": folder, "breakhis": lambda root: breakhis(root, slides=6),
    "mendeley": lambda root: mendeley(root, benign=14, malignant=14),
}  # fmt: skip
RECIPES = sorted(registry().items("recipes"))
Tree = Callable[[str], str | None]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Tree:
    """The root of the data set of that name, written when it is first asked for; None for generated images."""
    written: dict[str, str] = {}

    def root(dataset: str) -> str | None:
        name = parse(dataset).name
        if name == "phantom":
            return None
        if name not in written:
            written[name] = str(TREES[name](tmp_path_factory.mktemp(name)))
        return written[name]

    return root


def small(text: str) -> str:
    return re.sub(r"\b(balanced|n)=\d+", lambda found: f"{found[1]}={12 if found[1] == 'balanced' else 40}", text)


def shrunk(name: str, tree: Tree) -> Recipe:
    own = load(name)
    # `gamma` counts the layers of VGG, which would take minutes here; the test of networks below has it in its place.
    strategy = "last-blocks:1" if own.strategy.startswith("gamma") else own.strategy
    changes: dict[str, Any] = {
        "dataset": small(own.dataset), "root": tree(own.dataset), "backbone": "test_resnet", "strategy": strategy,
        "size": 32, "weights": "random",
        "epochs": 1, "batch": 16, "repeats": 1, "device": "cpu", "precision": "fp32", "patience": None,
        "phases": [phase.model_dump() | {"epochs": 1} for phase in own.phases[:2]],
        "grid": {key: values[:1] for key, values in own.grid.items()},
        "split.test": max(own.split.test, 0.3), "split.folds": min(own.split.folds, 2), "split.inner": min(own.split.inner, 2),
    }  # fmt: skip
    for number, stage in enumerate(own.stages):
        dataset = stage.dataset or own.dataset
        changes |= {f"stages.{number}.root": tree(dataset), f"stages.{number}.epochs": 1}
    return load(name, changes)


@pytest.mark.parametrize("name", RECIPES)
def test_an_epoch_of_it_trains(name: str, tree: Tree, tmp_path) -> None:
    recipe = shrunk(name, tree)
    run = train(recipe, tmp_path / "run")
    with (run.path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        tested = [row for row in csv.DictReader(file) if row["part"] == "test"]
    folds = {f"fold-{k}" for k in range(recipe.split.folds)}
    if recipe.split.folds < 2:
        folds = {"official" if recipe.split.official else "holdout"}
    assert run.facts["status"] == "done"
    assert {row["fold"].partition("/")[0] for row in tested} == folds
    assert all(list((run.path / fold).rglob("model.safetensors")) for fold in folds)
    right = sum(row["label"] == row["decision"] for row in tested)
    assert run.facts["scores"]["accuracy"]["value"] == pytest.approx(right / len(tested))
    assert recipe.allow_leakage or LEAKY not in run.facts["stamps"]


@pytest.mark.parametrize("name", RECIPES)
def test_as_published_means_by_image_says_so_and_differs_in_nothing_else(name: str) -> None:
    recipe = load(name)
    assert recipe.allow_leakage is name.endswith("-as-published")
    if recipe.allow_leakage:
        assert recipe.split.by == "image"
        assert re.search("leak", recipe.summary)
        sound, published = (one.model_dump(mode="json") for one in (load(name.removesuffix("-as-published")), recipe))
        differ = {"name", "summary", "split", "allow_leakage"}
        if not name.startswith(("multistage", "efficientnet")):  # the other papers decide at a half
            differ |= {"threshold", "calibration"}
        assert {key for key in sound if sound[key] != published[key]} <= differ


def _networks() -> dict[tuple[str, str, str], Recipe]:
    return {(recipe.backbone, recipe.strategy, recipe.head): recipe for recipe in map(load, RECIPES)}


@pytest.mark.parametrize("recipe", _networks().values(), ids=lambda recipe: recipe.name)
def test_its_own_network_can_be_built_and_learns_where_the_strategy_says(recipe: Recipe) -> None:
    """With the true backbone, of which only the shapes are made: `adapt` and `freeze` find what they name."""
    with torch.device("meta"):
        backbone = build_backbone(recipe.backbone)
        input = backbone.input.model_copy(update={"size": recipe.size or backbone.input.size})
        model, strategy = build_model(backbone, recipe.strategy, recipe.head, ("benign", "malignant"), input)
    counts = model.parameter_counts()
    assert counts["head"] <= counts["trainable"] <= counts["total"]
    if recipe.strategy == "frozen":
        assert counts["trainable"] == counts["head"]
    if recipe.strategy in ("full", "scratch"):
        assert counts["trainable"] == counts["total"]
    learning = sum(p.numel() for group in strategy.parameter_groups(model, 1e-3) for p in group["params"])
    assert learning == counts["trainable"]
