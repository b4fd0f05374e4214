"""Preparing a run: which splits leak and are refused, and which warnings a run carries because of its data and weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mammozoo.config.recipe import Recipe, load
from mammozoo.data.duplicates.matching import group
from mammozoo.data.splits.leakage import LeakageError, seen_before
from mammozoo.data.splits.make import Split
from mammozoo.errors import UsageError
from mammozoo.evaluation.evaluate import evaluate
from mammozoo.models.config import LEAKY, SYNTHETIC
from mammozoo.progress import Progress
from mammozoo.training.experiment import train
from mammozoo.training.prepare import check_leakage, prepare
from mammozoo.training.run_directory import RunDirectory

from .pictures import picture_folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures, no two alike."""
    return picture_folder(tmp_path_factory.mktemp("pictures") / "data", seed=0)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty other pictures, each three times."""
    return picture_folder(tmp_path_factory.mktemp("copied") / "data", seed=1, copies=3)


def _recipe(root: Path, **fields: object) -> Recipe:
    return load(None, {
        "dataset": "folder", "root": str(root), "backbone": "test_resnet", "weights": "random", "strategy": "frozen",
        "size": 32, "epochs": 1, "augment": [], "device": "cpu", **fields,
    })  # fmt: skip


def _config(run: RunDirectory) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.path / "config.json").read_text())["mammozoo"]
    return content


@pytest.fixture(scope="module")
def picture_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run on `pictures`; read it, never change it."""
    return train(_recipe(pictures), tmp_path_factory.mktemp("picture-run") / "run")


class Notes(Progress):
    """Collects the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_near_duplicates_stay_in_one_part(copied: Path) -> None:
    prepared = prepare(_recipe(copied))
    assert len(prepared.data.samples) == 120
    assert len(np.unique(prepared.data.groups)) == 40
    (split,) = prepared.splits
    originals = [
        {prepared.data.names[i].partition("-")[0] for i in split.part(part)} for part in ("train", "val", "test")
    ]
    assert sum(map(len, originals)) == len(set.union(*originals)) == 40
    assert prepared.stamps == ()


def test_a_split_by_image_is_refused(copied: Path) -> None:
    with pytest.raises(UsageError, match="allow_leakage"):
        _recipe(copied, **{"split.by": "image"})
    recipe = _recipe(copied).model_copy(update={"split": _recipe(copied).split.model_copy(update={"by": "image"})})
    with pytest.raises(LeakageError):  # also if the recipe was not validated
        prepare(recipe)


def test_a_leaky_run_is_stamped_in_all_its_outputs(copied: Path, tmp_path: Path, command: Any) -> None:
    run = train(_recipe(copied, allow_leakage=True, **{"split.by": "image"}), tmp_path / "run")
    assert json.loads((run.path / "run.json").read_text())["stamps"] == [LEAKY]
    for config in ("config.json", "holdout/config.json"):
        assert json.loads((run.path / config).read_text())["mammozoo"]["stamps"] == [LEAKY]
    assert LEAKY[1:] in (run.path / "README.md").read_text()
    image = next((copied / "benign").iterdir())
    (result,) = command("predict", image, "--model", run.path, "--json").json["results"]
    assert LEAKY in result["warnings"]
    assert f"! {LEAKY}" in command("predict", image, "--model", run.path).err


def test_a_sound_run_has_no_stamp_and_lists_the_images_used(picture_run: RunDirectory) -> None:
    config = _config(picture_run)
    assert config["stamps"] == []
    counts = config["training"]["images"]
    assert len(config["training"]["seen"]) == counts["train"] + counts["val"] == 40 - counts["test"]


def test_weights_trained_on_test_images_are_refused(picture_run: RunDirectory, pictures: Path, tmp_path: Path) -> None:
    """Another seed of the split: some test images were in the training part of the run that the weights come from."""
    recipe = _recipe(pictures, weights=f"zoo:{picture_run.path}", **{"split.seed": 1})
    with pytest.raises(LeakageError, match=r"\d+ of the test images .*(benign|malignant)/\d\d"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert prepare(recipe.model_copy(update={"allow_leakage": True})).stamps == (LEAKY,)
    same_split = recipe.model_copy(update={"split": picture_run.recipe.split})
    assert prepare(same_split).stamps == (), "the test part is the same, so none of it was used"


def test_images_used_for_the_starting_weights_are_listed_too(
    picture_run: RunDirectory, copied: Path, tmp_path: Path
) -> None:
    run = train(_recipe(copied, weights=f"zoo:{picture_run.path}"), tmp_path / "run")
    config, before = _config(run), _config(picture_run)["training"]["seen"]
    assert config["stamps"] == []
    after = config["training"]["seen"]
    assert after[: len(before)] == before and len(after) > len(before)


def test_a_patient_on_both_sides_is_a_leak(pictures: Path) -> None:
    data = prepare(_recipe(pictures)).data
    samples = [dataclasses.replace(sample, patient=f"P{i // 2}") for i, sample in enumerate(data.samples)]
    data = dataclasses.replace(data, samples=samples, groups=group([s.patient for s in samples]))
    check_leakage([Split("holdout", np.arange(0, 20), np.arange(20, 30), np.arange(30, 40))], data, ())
    with pytest.raises(LeakageError):
        check_leakage([Split("holdout", np.arange(0, 21), np.arange(21, 30), np.arange(30, 40))], data, ())


def test_near_duplicates_of_used_images_are_found(copied: Path) -> None:
    data = prepare(_recipe(copied)).data
    first = int(data.images.fingerprints.whole[0])
    known = seen_before(data, np.arange(120), (f"{first:016x}",))
    assert {data.names[i] for i in known} == {"benign/00-0.png", "benign/00-1.bmp", "benign/00-2.bmp"}
    assert len(seen_before(data, np.arange(120), ())) == 0


def test_evaluating_on_training_images_is_stamped(picture_run: RunDirectory, pictures: Path, copied: Path) -> None:
    notes, used = Notes(), len(_config(picture_run)["training"]["seen"])
    assert evaluate(picture_run.path, "folder", pictures, device="cpu", progress=notes).stamps == (LEAKY,)
    assert any(f"{used} of 40 images" in note for note in notes.notes)
    assert evaluate(picture_run.path, "folder", copied, device="cpu").stamps == ()


def test_generated_images_are_stamped_and_so_is_what_starts_from_them(
    tiny_run: RunDirectory, picture_run: RunDirectory, copied: Path, tmp_path: Path
) -> None:
    assert list(tiny_run.facts["stamps"]) == [SYNTHETIC]
    assert _config(tiny_run)["training"]["synthetic"] is True
    generated = Path(shutil.copytree(picture_run.path, tmp_path / "run"))
    config = json.loads((generated / "config.json").read_text())
    config["mammozoo"]["training"]["synthetic"] = True
    (generated / "config.json").write_text(json.dumps(config))
    assert prepare(_recipe(copied, weights=f"zoo:{generated}")).stamps == (SYNTHETIC,)


def test_a_run_needs_nothing_but_its_folder(picture_run: RunDirectory, pictures: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(picture_run.path, tmp_path / "elsewhere"))
    assert RunDirectory.open(moved).recipe == picture_run.recipe
    assert len(evaluate(moved, "folder", pictures, device="cpu").predictions) == 40


def test_the_folder_of_a_run_is_a_name_for_its_weights(picture_run: RunDirectory, pictures: Path) -> None:
    prepared = prepare(_recipe(pictures, weights=str(picture_run.path)))
    assert prepared.lineage.weights == f"zoo:{picture_run.path}"
    trained = load_file(picture_run.path / "model.safetensors")
    for name, parameter in prepared.backbone.named_parameters():
        assert torch.equal(parameter, trained[f"backbone.{name}"]), name


def test_repeats_start_from_one_network_and_draw_a_head_each(pictures: Path) -> None:
    prepared = prepare(_recipe(pictures, repeats=2))
    first, second = (prepared.build(recipe)[0] for _, recipe in prepared.recipe.points())
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b) != (name == "head.2.weight"), name
