"""Earlier stages: what they pass on, which images they must not use, how they are resumed, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from safetensors.torch import load_file
from scipy import ndimage

from mammozoo.config.loading import load
from mammozoo.config.recipe import Recipe
from mammozoo.data.splits.leakage import seen_before
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.files import read_table, sha256
from mammozoo.models.config import SYNTHETIC, read_config
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.experiment import extend, resume, train
from mammozoo.training.fit_spec import all_fits
from mammozoo.training.prepare import prepare
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.stages import StageResult

from ..builtin.trees.pictures import picture_folder
from ..helpers import edit_json, tiny

OTHER = {
    "name": "other",
    "dataset": "phantom:n=30,seed=7",
    "classes": ["malignant", "benign"],
    "optimizer": {"lr": 1e-2},
}
SAME = {"name": "same", "epochs": 2}


def _recipe(*stages: dict[str, Any], **fields: Any) -> Recipe:
    own = {"dataset": "phantom:n=30", "strategy": "full", "optimizer": {"name": "adam", "lr": 1e-3}}
    return tiny(**own | fields, stages=list(stages))


def parts(folder: Path) -> dict[str, set[str]]:
    rows = read_table(folder / "split.csv")
    return {part: {row["sample"] for row in rows if row["part"] == part} for part in ("train", "val", "test")}


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> RunDirectory:
    """Three folds after two stages; the run itself leaves the backbone as the last stage gives it."""
    more = {"dataset": "phantom:n=40", "split.folds": 3, "strategy": "frozen"}
    recipe = _recipe(OTHER, SAME | {"strategy": "full"}, **more)
    return train(recipe, tmp_path_factory.mktemp("staged") / "run")


def test_stages_that_share_images_are_trained_once_a_fold_and_use_none_that_it_holds_back(staged) -> None:
    fits = {path.parent.relative_to(staged.path).as_posix() for path in staged.path.rglob("config.json")}
    folds = [f"fold-{k}" for k in range(3)]
    assert fits == {".", "ensemble", "stages/other", *folds, *(f"{fold}/stages/same" for fold in folds)}
    left_out = {stage["name"]: stage["left_out"] for stage in staged.facts["stages"]}
    for fold in ("fold-0", "fold-1", "fold-2"):
        final, stage = parts(staged.path / fold), parts(staged.path / fold / "stages" / "same")
        assert final["val"] and final["test"]
        assert stage["train"] | stage["val"] == final["train"]
        assert stage["val"] and not stage["test"]
        assert left_out["same"][fold] == len(final["val"] | final["test"])
        assert left_out["other"][fold] == 0


def test_each_stage_starts_from_the_best_weights_of_the_one_before(staged: RunDirectory) -> None:
    for fold in ("fold-0", "fold-2"):
        stage = load_file(staged.path / fold / "stages" / "same" / "model.safetensors")
        final = load_file(staged.path / fold / "model.safetensors")
        backbone = [name for name in stage if name.startswith("backbone.")]
        assert backbone and all(torch.equal(stage[name], final[name]) for name in backbone)
    first = load_file(staged.path / "stages" / "other" / "model.safetensors")
    assert not all(torch.equal(first[name], stage[name]) for name in backbone), "the second stage trained them"


def test_the_stages_are_in_the_config_and_on_the_card_or_were_not_yet(staged: RunDirectory, tiny_run, tmp_path) -> None:
    fold = staged.path / "fold-1"
    training = read_config(fold).training
    assert training.weights == "stage:same"
    other, same = training.stages
    assert (other.name, other.dataset, other.classes) == ("other", "phantom:n=30,seed=7", ("malignant", "benign"))
    assert (other.weights, same.weights) == ("random", "stage:other")
    assert (other.epochs, same.epochs, same.strategy, same.head) == (1, 2, "full", "gap")
    assert other.sha256 == sha256(staged.path / "stages" / "other" / "model.safetensors")
    assert same.sha256 == sha256(fold / "stages" / "same" / "model.safetensors")
    images = parts(fold / "stages" / "same")
    assert same.images == {"train": len(images["train"]), "val": len(images["val"]), "test": 0}
    assert same.left_out == 40 - len(images["train"]) - len(images["val"])
    assert same.stamps == (SYNTHETIC,)
    card = (staged.path / "README.md").read_text(encoding="utf-8")
    assert "| other | `phantom:n=30,seed=7` | malignant, benign |" in card
    assert "| this model | `phantom:n=40` |" in card
    shutil.copy(tiny_run.path / "config.json", tmp_path)
    for key in ("stages", "classes", "left_out"):
        edit_json(tmp_path / "config.json", lambda content, key=key: content["mammozoo"]["training"].pop(key))
    assert read_config(tmp_path).training.stages == ()
    assert "## Stages" not in (tiny_run.path / "README.md").read_text(encoding="utf-8")


def test_near_duplicates_in_another_folder_are_left_out_by_fold(tmp_path) -> None:
    final, stage = picture_folder(tmp_path / "final", 0), picture_folder(tmp_path / "stage", 1)
    # Half of the benign ones, with speckle, come again: brighter, cropped, in another format and class.
    for number in range(10):
        path = final / "benign" / f"{number:02}-0.png"
        speckle = ndimage.gaussian_filter(np.random.default_rng(number).normal(0, 60, (64, 64)), 1)
        image = Image.fromarray(np.clip(np.asarray(Image.open(path)) * 0.7 + 30 + speckle, 0, 255).astype(np.uint8))
        image.save(path)
        copy = ImageEnhance.Brightness(image.crop((2, 2, 62, 62))).enhance(1.1)
        copy.save(stage / "malignant" / f"copy-{number:02}.bmp")
    first = {"name": "first", "dataset": "folder", "root": str(stage)}
    prepared = prepare(_recipe(first, dataset="folder", root=str(final), **{"split.folds": 3}))
    names, stage_names = prepared.data.names, prepared.stages[0].data.names
    for own, stage_split in zip(prepared.splits, prepared.stages[0].splits, strict=True):
        held_back, used = np.concatenate([own.val, own.test]), np.concatenate([stage_split.train, stage_split.val])
        images = {names[i] for i in held_back}
        copies = {f"malignant/copy-{n:02}.bmp" for n in range(10) if f"benign/{n:02}-0.png" in images}
        assert copies
        assert set(stage_names) - {stage_names[i] for i in used} == copies
        hashes = tuple(f"{value:016x}" for value in prepared.stages[0].data.images.fingerprints.whole[used])
        assert not len(seen_before(prepared.data, held_back, hashes))
    (prepared_stage, fits), _ = all_fits(prepared)
    assert [fit.name for fit in fits] == [f"fold-{k}/stages/first" for k in range(3)]
    assert prepared_stage.stamps == ()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunDirectory:
    return train(_recipe(OTHER | {"epochs": 2}, SAME, batch=8), tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize(("complete", "begun"), [("stages/other", "stages/same"), ("stages/same", "holdout")])
def test_a_run_stopped_in_a_stage_is_resumed_to_the_same_bytes(whole, tmp_path, complete: str, begun: str) -> None:
    batches = iter(range(100))
    with pytest.raises(Stopped):  # after the second batch of the fit after the complete one
        train(
            whole.recipe,
            tmp_path / "run",
            stop=lambda: (tmp_path / "run" / complete / "predictions.csv").is_file() and next(batches) == 1,
        )
    states = [path.parent.relative_to(tmp_path / "run").as_posix() for path in tmp_path.rglob("last.safetensors")]
    assert states == [begun]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    run = resume(tmp_path / "run")
    assert written == {path: path.stat().st_mtime_ns for path in written}, "complete fits are not trained again"
    for folder in (".", "holdout", "stages/other", "stages/same"):
        for name in ("model.safetensors", "config.json", "predictions.csv"):
            file = f"{folder}/{name}"
            assert (run.path / file).read_bytes() == (whole.path / file).read_bytes(), file


def test_a_run_with_stages_is_not_extended_and_its_recipe_is_written_with_them(staged: RunDirectory, tmp_path) -> None:
    with pytest.raises(UsageError, match="stages"):
        extend(staged.path, 5, tmp_path / "longer")
    assert not (tmp_path / "longer").exists()
    again = load(str(staged.path / "recipe.yaml"))
    for n in range(2):
        assert again.of_stage(n).model_dump(exclude={"name"}) == staged.recipe.of_stage(n).model_dump(exclude={"name"})


def test_layers_that_a_strategy_adds_pass_to_a_stage_with_the_same_strategy() -> None:
    prepared = prepare(_recipe(SAME, strategy="drs"))
    model, _ = prepared.stages[0].build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25)
    tensors = model.backbone.state_dict().items()
    state = {name: tensor.clone() for name, tensor in tensors if not name.endswith("num_batches_tracked")}
    following, _ = prepared.after(StageResult(state, prepared.lineage, ())).build()
    own = following.backbone.state_dict()
    assert any("depth_weight" in name for name in state)
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


def test_which_strategies_cannot_follow_each_other_and_what_a_substitute_is_stamped(tmp_path) -> None:
    with pytest.raises(IncompatibleError, match=r"'same'.*'drs'.*'full'"):
        train(_recipe(SAME | {"strategy": "drs"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    prepare(_recipe(SAME | {"strategy": "full"}, strategy="drs"))  # a strategy may add layers to a plain stage
    with pytest.raises(UsageError, match=r"'scratch'.*random"):
        prepare(_recipe(SAME | {"strategy": "full"}, strategy="scratch"))
    stamp = "stage other: phantom:n=30,seed=7 is a substitute for images of cancer cells"
    prepared = prepare(_recipe(SAME, OTHER | {"substitute_for": "images of cancer cells"}))
    assert [stamp in one.stamps for one in (*prepared.stages, prepared)] == [False, True, True]


def test_a_stage_takes_what_it_leaves_out_from_the_recipe() -> None:
    phases = [{"name": "sgd", "lr": 0.1, "epochs": 3}]
    more: dict[str, Any] = {"batch": 8, "phases": phases, "classes": ["benign", "malignant"]}
    recipe = _recipe(OTHER, SAME, **more)
    other, same = recipe.of_stage(0), recipe.of_stage(1)
    assert (other.batch, other.strategy, other.backbone) == (8, "full", "test_resnet")
    assert (other.optimizer.name, other.optimizer.lr) == ("adam", 1e-2), "a section is merged key by key"
    assert other.phases == () and same.phases == ()
    assert (same.classes, same.dataset) == (("benign", "malignant"), "phantom:n=30")
    without_epochs = _recipe(OTHER | {"optimizer": None}, SAME, **more).of_stage(0)
    assert [phase.epochs for phase in without_epochs.phases] == [3]
    stages = [{"name": "a", "dataset": "csv"}, {"name": "b"}, {"name": "c", "root": "there"}]
    recipe = _recipe(*stages, dataset="folder", root="here", classes=["x", "y"])
    assert [recipe.of_stage(n).root for n in range(3)] == [None, Path("here"), Path("there")]
    assert [recipe.of_stage(n).classes for n in range(3)] == [None, ("x", "y"), ("x", "y")]


def test_a_dotted_key_counts_stages(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: busi\nbackbone: resnet9\nstages: [{name: a}, {name: b, dataset: folder}]\n")
    recipe = load(str(path), {"stages.1.root": str(tmp_path), "stages.0.optimizer.lr": 0.5})
    assert recipe.stages[1].root == tmp_path
    assert recipe.of_stage(0).optimizer.lr == 0.5
    for overrides, words in [
        ({"stages.2.root": "x"}, r"stages\.2\.root.*'2'"),
        ({"stages.0.rot": "x"}, r"'stages\.rot'.*'root'"),
        ({"stages.1.name": "a"}, "name"),
        ({"grid": {"stages.0.dataset": ["busi", "folder"]}}, r"'stages\.0\.dataset'"),
    ]:
        with pytest.raises(UsageError, match=words):
            load(str(path), overrides)
    with pytest.raises(UsageError, match=r"'cells'.*--set stages\.0\.root=DIR"):
        prepare(_recipe({"name": "cells", "dataset": "folder"}))


def test_a_stage_without_images_of_a_class_is_refused(tmp_path) -> None:
    """Its malignant images are all in the test part of the run."""
    final, stage = picture_folder(tmp_path / "final", 0), picture_folder(tmp_path / "stage", 1)
    rows = [
        f"{label}/{number:02}-0.png,{'test' if number < 5 else 'train'}"
        for label in ("benign", "malignant")
        for number in range(20)
    ]
    (tmp_path / "split.csv").write_text("\n".join(["sample,part", *rows]) + "\n")
    for number, path in enumerate(sorted((stage / "malignant").iterdir())):
        path.unlink()
        if number < 5:
            path.write_bytes((final / "benign" / f"{number:02}-0.png").read_bytes())
    first = {"name": "first", "dataset": "folder", "root": str(stage)}
    with pytest.raises(UsageError, match=r"'first'.*'malignant'"):
        prepare(_recipe(first, dataset="folder", root=str(final), **{"split.file": str(tmp_path / "split.csv")}))
