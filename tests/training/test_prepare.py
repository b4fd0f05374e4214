"""Preparing a run: which splits leak and are refused, and which warnings a run carries because of its data and weights."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mammozoo import Progress, Recipe, RunDirectory, UsageError
from mammozoo.data.duplicates.matching import group
from mammozoo.data.splits.leakage import LeakageError, seen_before
from mammozoo.data.splits.make import Split
from mammozoo.evaluation.evaluate import evaluate
from mammozoo.models.config import LEAKY, SYNTHETIC
from mammozoo.training.experiment import train
from mammozoo.training.prepare import prepare
from mammozoo.training.splitting import check_leakage

from ..builtin.trees.pictures import picture_folder
from ..helpers import edit_json, tiny


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Forty pictures, no two alike."""
    return picture_folder(tmp_path_factory.mktemp("pictures") / "data", seed=0)


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    return picture_folder(tmp_path_factory.mktemp("copied") / "data", seed=1, copies=3)


def _recipe(root: Path, **fields: Any) -> Recipe:
    return tiny(**{"dataset": "folder", "root": str(root), "strategy": "frozen", **fields})


def _config(run: RunDirectory) -> dict[str, Any]:
    return json.loads((run.path / "config.json").read_text())["mammozoo"]


@pytest.fixture(scope="module")
def picture_run(pictures, tmp_path_factory) -> RunDirectory:
    """A run on `pictures`; read it, never change it."""
    return train(_recipe(pictures), tmp_path_factory.mktemp("picture-run") / "run")


def test_near_duplicates_stay_in_one_part_and_a_split_by_image_is_refused(copied: Path) -> None:
    prepared = prepare(_recipe(copied))
    assert len(prepared.data.samples) == 120
    assert len(np.unique(prepared.data.groups)) == 40
    (split,) = prepared.splits
    names, parts = prepared.data.names, ("train", "val", "test")
    originals = [{names[i].partition("-")[0] for i in split.part(part)} for part in parts]
    assert sum(map(len, originals)) == len(set.union(*originals)) == 40
    assert prepared.stamps == ()
    with pytest.raises(UsageError, match="allow_leakage"):
        _recipe(copied, **{"split.by": "image"})
    recipe = _recipe(copied).model_copy(update={"split": _recipe(copied).split.model_copy(update={"by": "image"})})
    with pytest.raises(LeakageError):  # also if the recipe was not validated
        prepare(recipe)


def test_a_leaky_run_is_stamped_in_all_its_outputs(copied: Path, tmp_path, command) -> None:
    run = train(_recipe(copied, allow_leakage=True, **{"split.by": "image"}), tmp_path / "run")
    assert json.loads((run.path / "run.json").read_text())["stamps"] == [LEAKY]
    for config in ("config.json", "holdout/config.json"):
        assert json.loads((run.path / config).read_text())["mammozoo"]["stamps"] == [LEAKY]
    assert LEAKY[1:] in (run.path / "README.md").read_text()
    image = next((copied / "benign").iterdir())
    (result,) = command("predict", image, "--model", run.path, "--json").json["results"]
    assert LEAKY in result["warnings"]
    assert f"! {LEAKY}" in command("predict", image, "--model", run.path).err


def test_a_sound_run_lists_the_images_used_and_evaluating_on_them_is_stamped(picture_run, pictures, copied) -> None:
    config = _config(picture_run)
    assert config["stamps"] == []
    counts = config["training"]["images"]
    assert len(config["training"]["seen"]) == counts["train"] + counts["val"] == 40 - counts["test"]
    used, progress = len(config["training"]["seen"]), Mock(Progress)
    assert evaluate(picture_run.path, "folder", pictures, device="cpu", progress=progress).stamps == (LEAKY,)
    assert any(f"{used} of 40 images" in call.args[0] for call in progress.note.call_args_list)
    assert evaluate(picture_run.path, "folder", copied, device="cpu").stamps == ()


def test_weights_trained_on_test_images_are_refused(picture_run: RunDirectory, pictures, tmp_path) -> None:
    """Another seed of the split: some test images were in the training part of the run that the weights come from."""
    recipe = _recipe(pictures, weights=f"zoo:{picture_run.path}", **{"split.seed": 1})
    with pytest.raises(LeakageError, match=r"\d+ of the test images .*(benign|malignant)/\d\d"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert prepare(recipe.model_copy(update={"allow_leakage": True})).stamps == (LEAKY,)
    same_split = recipe.model_copy(update={"split": picture_run.recipe.split})
    assert prepare(same_split).stamps == (), "the test part is the same, so none of it was used"


def test_images_used_and_stamps_of_the_starting_weights_pass_on(picture_run, copied: Path, tmp_path, tiny_run) -> None:
    run = train(_recipe(copied, weights=f"zoo:{picture_run.path}"), tmp_path / "run")
    config, before = _config(run), _config(picture_run)["training"]["seen"]
    assert config["stamps"] == []
    after = config["training"]["seen"]
    assert after[: len(before)] == before and len(after) > len(before)
    assert list(tiny_run.facts["stamps"]) == [SYNTHETIC]
    assert _config(tiny_run)["training"]["synthetic"] is True
    generated = Path(shutil.copytree(picture_run.path, tmp_path / "generated"))
    edit_json(generated / "config.json", lambda content: content["mammozoo"]["training"].update(synthetic=True))
    assert prepare(_recipe(copied, weights=f"zoo:{generated}")).stamps == (SYNTHETIC,)


def test_patients_and_near_duplicates_on_both_sides_are_found(pictures, copied: Path) -> None:
    data = prepare(_recipe(pictures)).data
    samples = [dataclasses.replace(sample, patient=f"P{i // 2}") for i, sample in enumerate(data.samples)]
    data = dataclasses.replace(data, samples=samples, groups=group([s.patient for s in samples]))
    check_leakage([Split("holdout", np.arange(0, 20), np.arange(20, 30), np.arange(30, 40))], data, ())
    with pytest.raises(LeakageError):
        check_leakage([Split("holdout", np.arange(0, 21), np.arange(21, 30), np.arange(30, 40))], data, ())
    data = prepare(_recipe(copied)).data
    first = int(data.images.fingerprints.whole[0])
    known = seen_before(data, np.arange(120), (f"{first:016x}",))
    assert {data.names[i] for i in known} == {"benign/00-0.png", "benign/00-1.bmp", "benign/00-2.bmp"}
    assert len(seen_before(data, np.arange(120), ())) == 0


def test_a_run_needs_nothing_but_its_folder_and_repeats_share_one_network(picture_run, pictures, tmp_path) -> None:
    moved = Path(shutil.copytree(picture_run.path, tmp_path / "elsewhere"))
    assert RunDirectory.open(moved).recipe == picture_run.recipe
    assert len(evaluate(moved, "folder", pictures, device="cpu").predictions) == 40
    prepared = prepare(_recipe(pictures, weights=str(picture_run.path)))
    assert prepared.lineage.weights == f"zoo:{picture_run.path}"
    trained = load_file(picture_run.path / "model.safetensors")
    for name, parameter in prepared.backbone.named_parameters():
        assert torch.equal(parameter, trained[f"backbone.{name}"]), name
    prepared = prepare(_recipe(pictures, repeats=2))
    first, second = (prepared.build(recipe)[0] for _, recipe in prepared.recipe.points())
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b) != (name == "head.2.weight"), name
