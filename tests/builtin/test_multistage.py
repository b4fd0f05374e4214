"""The multistage recipes: what the papers state is in them, nested folds stay apart, and stages use no held-back image."""

from typing import Any

import numpy as np
import pytest

from mammozoo.config.loading import load
from mammozoo.reproduction.paper import load_paper
from mammozoo.training.prepare import prepare

from .trees.pictures import breakhis, busi, mendeley

SMALL: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "size": 32, "device": "cpu", "augment": []}


def test_what_the_english_text_states_is_in_the_recipe() -> None:
    recipe = load("efficientnetb2-mendeley")
    assert (recipe.dataset, recipe.backbone, recipe.weights) == ("mendeley:balanced=100", "efficientnet_b2", "imagenet")
    assert (recipe.strategy, recipe.head, recipe.batch, recipe.epochs) == ("full", "gap", 16, 30)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.schedule.kind) == ("adam", 1e-3, "exponential")
    assert (recipe.split.folds, recipe.split.inner, recipe.split.by) == (5, 5, "group")


def test_the_first_stage_is_microscopy_in_colour_stamped_as_a_substitute(tmp_path) -> None:
    crops, cells = mendeley(tmp_path / "crops", benign=14, malignant=14), breakhis(tmp_path / "cells", slides=6)
    few = {"dataset": "mendeley", "root": str(crops), "stages.0.root": str(cells), "split.folds": 2, "split.inner": 2}
    recipe = load("multistage-mendeley", SMALL | few)
    prepared = prepare(recipe)
    stage = prepared.stages[0]
    assert (stage.input.color, stage.data.images.pixels.shape[-1]) == ("rgb", 3)
    assert stage.input.size == prepared.input.size == (32, 32)
    assert {str(sample.meta["magnification"]) for sample in stage.data.samples} == {"100"}
    (stamp,) = prepared.stamps
    assert "breakhis:magnification=100 is a substitute for" in stamp
    assert all(not len(split.test) for split in stage.splits)
    assert sum(prepared.stage_counts()[0]["left_out"].values()) == 0  # cells and ultrasound share nothing


def test_the_middle_stage_on_busi_leaves_out_what_each_fold_holds_back(tmp_path) -> None:
    prepared = prepare(load("multistage-busi", {**SMALL, "root": str(busi(tmp_path / "busi")), "split.folds": 3}))
    stage = prepared.stages[0]
    assert stage.data.classes == ("normal", "lesion")
    assert np.bincount(stage.data.labels).tolist() == [12, 24]
    for own, cut in zip(prepared.splits, stage.splits, strict=True):
        held_back = {prepared.data.names[i] for i in np.concatenate([own.val, own.test])}
        used = {stage.data.names[i] for i in np.concatenate([cut.train, cut.val])}
        assert len(held_back) >= 8 and not held_back & used
        assert any("normal" in name for name in used)  # the images of the other class stay


@pytest.mark.parametrize("key", ["multistage", "multistage-microscopy", "multistage-busi"])
def test_every_row_of_the_papers_is_a_recipe(key: str) -> None:
    paper = load_paper(key)
    for row in paper.rows:
        for protocol in paper.protocols:
            recipe = paper.recipe(protocol, row.name, paper.quick)
            assert recipe.paper == key
            assert recipe.epochs == paper.quick["epochs"]
            assert recipe.allow_leakage is (protocol == "published")
            assert bool(recipe.stages) == (key != "multistage" and "direct" not in row.name)
