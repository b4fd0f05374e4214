"""The multistage recipes: what the papers state is in them, nested folds stay apart, and stages use no held-back image."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammozoo.config.recipe import load
from mammozoo.models.config import LEAKY
from mammozoo.reproduction.paper import load_paper
from mammozoo.training.prepare import prepare

from .trees.breakhis import breakhis
from .trees.busi import busi
from .trees.mendeley import mendeley

SMALL: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "size": 32, "device": "cpu", "augment": []}


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mendeley(tmp_path_factory.mktemp("mendeley") / "data")


def test_what_the_english_text_states_is_in_the_recipe() -> None:
    recipe = load("efficientnetb2-mendeley")
    assert (recipe.dataset, recipe.backbone, recipe.weights) == ("mendeley:balanced=100", "efficientnet_b2", "imagenet")
    assert (recipe.strategy, recipe.head, recipe.batch, recipe.epochs) == ("full", "gap", 16, 30)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.schedule.kind) == ("adam", 1e-3, "exponential")
    assert (recipe.split.folds, recipe.split.inner, recipe.split.by) == (5, 5, "group")


@pytest.mark.parametrize("name", ["efficientnetb2-mendeley", "multistage-mendeley", "multistage-busi"])
def test_as_published_differs_in_nothing_but_the_split(name: str) -> None:
    described = {"name", "summary"}
    sound, published = (load(one).model_dump(mode="json") for one in (name, f"{name}-as-published"))
    changed = {key for key in sound if sound[key] != published[key]} - described
    assert changed == {"split", "allow_leakage"}
    assert published["split"] == sound["split"] | {"by": "image"}


def test_no_outer_test_image_is_anywhere_in_the_inner_folds(crops: Path) -> None:
    prepared = prepare(load("efficientnetb2-mendeley", {**SMALL, "root": str(crops)}))
    assert len(prepared.splits) == 25
    tested: list[int] = []
    by_outer = defaultdict(list)
    for split in prepared.splits:
        by_outer[split.outer].append(split)
    for inner in by_outer.values():
        test = set(inner[0].test.tolist())
        tested += sorted(test)
        validated: list[int] = []
        for split in inner:
            assert set(split.test.tolist()) == test
            used = split.train.tolist() + split.val.tolist()
            assert not set(used) & test
            assert len(used) == len(set(used))
            assert not set(prepared.data.groups[used]) & set(prepared.data.groups[list(test)])
            validated += split.val.tolist()
        assert sorted(validated) == sorted(set(range(len(prepared.data.samples))) - test)
    assert sorted(tested) == list(range(200))


def test_the_first_stage_is_microscopy_in_colour_stamped_as_a_substitute(crops: Path, tmp_path: Path) -> None:
    cells = breakhis(tmp_path / "cells")
    recipe = load("multistage-mendeley", {**SMALL, "root": str(crops), "stages.0.root": str(cells)})
    prepared = prepare(recipe)
    stage = prepared.stages[0]
    assert (stage.input.color, stage.data.images.pixels.shape[-1]) == ("rgb", 3)
    assert stage.input.size == prepared.input.size == (32, 32)
    assert {str(sample.meta["magnification"]) for sample in stage.data.samples} == {"100"}
    (stamp,) = prepared.stamps
    assert "breakhis:magnification=100 is a substitute for" in stamp
    assert all(not len(split.test) for split in stage.splits)
    assert sum(prepared.stage_counts()[0]["left_out"].values()) == 0  # cells and ultrasound share nothing


def test_the_middle_stage_on_busi_leaves_out_what_each_fold_holds_back(tmp_path: Path) -> None:
    prepared = prepare(load("multistage-busi", {**SMALL, "root": str(busi(tmp_path / "busi")), "split.folds": 3}))
    stage = prepared.stages[0]
    assert stage.data.classes == ("normal", "lesion")
    assert np.bincount(stage.data.labels).tolist() == [12, 24]
    for own, cut in zip(prepared.splits, stage.splits, strict=True):
        held_back = {prepared.data.names[i] for i in np.concatenate([own.val, own.test])}
        used = {stage.data.names[i] for i in np.concatenate([cut.train, cut.val])}
        assert len(held_back) >= 8 and not held_back & used
        assert any("normal" in name for name in used)  # the images of the other class stay


def test_the_leaky_variant_is_stamped_where_images_repeat(tmp_path: Path) -> None:
    root = mendeley(tmp_path / "crops", benign=30, malignant=30)
    for label in ("benign", "malignant"):
        for path in sorted((root / "originals" / label).iterdir())[:20]:
            path.with_name(f"again-{path.name}").write_bytes(path.read_bytes())
    settings = {**SMALL, "root": str(root), "dataset": "mendeley", "split.folds": 2, "split.inner": 2}
    assert LEAKY in prepare(load("efficientnetb2-mendeley-as-published", settings)).stamps
    assert LEAKY not in prepare(load("efficientnetb2-mendeley", settings)).stamps


@pytest.mark.parametrize("key", ["multistage", "multistage-microscopy", "multistage-busi"])
def test_every_row_of_the_papers_is_a_recipe(key: str) -> None:
    paper = load_paper(key)
    for row in paper.rows:
        for protocol in paper.protocols:
            recipe = paper.recipe(protocol, row.name, paper.quick)
            assert recipe.paper == key
            assert recipe.epochs == paper.quick["epochs"]
            assert bool(recipe.stages) == (key != "multistage" and "direct" not in row.name)
