"""Stages: what is handed on, what an earlier stage may not see, when it is trained again, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from safetensors.torch import load_file

from mammozoo.config.recipe import Recipe, load
from mammozoo.data.splits.leakage import seen_before
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.files import sha256
from mammozoo.models.config import SYNTHETIC, read_config
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.experiment import Jobs, extend, resume, train
from mammozoo.training.fit_spec import all_fits
from mammozoo.training.prepare import prepare
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.stages import StageResult

TINY: dict[str, Any] = {
    "dataset": "phantom:n=40", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "augment": [],
    "device": "cpu", "strategy": "full", "optimizer": {"name": "adam", "lr": 1e-3},
}  # fmt: skip
#: A data set that shares nothing with the final one, and the final one itself.
OTHER = {
    "name": "other",
    "dataset": "phantom:n=40,seed=7",
    "classes": ["malignant", "benign"],
    "optimizer": {"lr": 1e-2},
}
SAME = {"name": "same", "epochs": 2}
FILES = ("model.safetensors", "config.json", "predictions.csv")


def made(*stages: dict[str, Any], **more: Any) -> Recipe:
    return load(None, {**TINY, "stages": list(stages), **more})


def parts(folder: Path) -> dict[str, set[str]]:
    """The images of each part of a fit."""
    found: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    with (folder / "split.csv").open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            found[row["part"]].add(row["sample"])
    return found


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Three folds behind two stages; in the end the backbone stays as the last stage left it."""
    recipe = made(OTHER, SAME | {"strategy": "full"}, **{"split.folds": 3, "strategy": "frozen"})
    return train(recipe, tmp_path_factory.mktemp("staged") / "run")


def test_a_stage_that_shares_nothing_is_trained_once_and_one_that_shares_once_a_fold(staged: RunDirectory) -> None:
    found = {path.parent.relative_to(staged.path).as_posix() for path in staged.path.rglob("config.json")}
    folds = [f"fold-{k}" for k in range(3)]
    assert found == {".", "stages/other", *folds, *(f"{fold}/stages/same" for fold in folds)}


def test_no_stage_sees_what_the_final_split_chooses_or_tests_on(staged: RunDirectory) -> None:
    told = {stage["name"]: stage["left_out"] for stage in staged.facts["stages"]}
    for fold in ("fold-0", "fold-1", "fold-2"):
        final, stage = parts(staged.path / fold), parts(staged.path / fold / "stages" / "same")
        held = final["val"] | final["test"]
        assert held and not (stage["train"] | stage["val"]) & held
        assert stage["train"] | stage["val"] == final["train"]
        assert stage["val"] and not stage["test"]
        assert told["same"][fold] == len(held)
        assert told["other"][fold] == 0


def test_each_stage_starts_from_the_best_weights_of_the_one_before(staged: RunDirectory) -> None:
    for fold in ("fold-0", "fold-2"):
        stage = load_file(staged.path / fold / "stages" / "same" / "model.safetensors")
        final = load_file(staged.path / fold / "model.safetensors")
        backbone = [name for name in stage if name.startswith("backbone.")]
        assert backbone and all(torch.equal(stage[name], final[name]) for name in backbone)
    first = load_file(staged.path / "stages" / "other" / "model.safetensors")
    assert any(
        not torch.equal(first[name], stage[name]) for name in backbone
    )  # the second stage moved on from the first


def test_the_lineage_is_in_the_config_and_on_the_card(staged: RunDirectory) -> None:
    fold = staged.path / "fold-1"
    training = read_config(fold).training
    assert training.weights == "stage:same"
    other, same = training.stages
    assert (other.name, other.dataset, other.classes) == ("other", "phantom:n=40,seed=7", ("malignant", "benign"))
    assert (other.weights, same.weights) == ("random", "stage:other")
    assert (other.epochs, same.epochs, same.strategy, same.head) == (1, 2, "full", "gap")
    assert other.sha256 == sha256(staged.path / "stages" / "other" / "model.safetensors")
    assert same.sha256 == sha256(fold / "stages" / "same" / "model.safetensors")
    own = parts(fold / "stages" / "same")
    assert same.images == {"train": len(own["train"]), "val": len(own["val"]), "test": 0}
    assert same.left_out == 40 - len(own["train"]) - len(own["val"])
    assert same.stamps == (SYNTHETIC,)
    card = (staged.path / "README.md").read_text(encoding="utf-8")
    assert "## Stages" in card
    assert "| other | `phantom:n=40,seed=7` | malignant, benign |" in card
    assert "| this model | `phantom:n=40` |" in card


def test_a_model_without_stages_is_read_as_before(tiny_run: RunDirectory) -> None:
    content = json.loads((tiny_run.path / "config.json").read_text(encoding="utf-8"))
    for key in ("stages", "classes", "left_out"):
        del content["mammozoo"]["training"][key]
    old = tiny_run.path.parent / "old"
    old.mkdir()
    (old / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_config(old).training.stages == ()
    assert "## Stages" not in (tiny_run.path / "README.md").read_text(encoding="utf-8")


def _pictures(root: Path, seed: int, count: int = 20) -> Path:
    rng = np.random.default_rng(seed)
    for label in ("benign", "malignant"):
        (root / label).mkdir(parents=True)
        for number in range(count):
            blotches = Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8))
            blotches.resize((64, 64), Image.Resampling.BICUBIC).save(root / label / f"{number:02}.png")
    return root


def test_near_duplicates_in_another_folder_are_left_out_by_fold(tmp_path: Path) -> None:
    final, stage = _pictures(tmp_path / "final", 0), _pictures(tmp_path / "stage", 1)
    for number in range(10):  # half of the benign ones come again: brighter, cropped, in another format and class
        with Image.open(final / "benign" / f"{number:02}.png") as picture:
            copy = ImageEnhance.Brightness(picture.crop((2, 2, 62, 62))).enhance(1.1)
            copy.save(stage / "malignant" / f"copy-{number:02}.bmp")
    prepared = prepare(
        made(
            {"name": "first", "dataset": "folder", "root": str(stage)},
            dataset="folder", root=str(final), **{"split.folds": 3},
        )
    )  # fmt: skip
    names, copies = prepared.data.names, prepared.stages[0].data.names
    for own, cut in zip(prepared.splits, prepared.stages[0].splits, strict=True):
        held = {names[i] for i in np.concatenate([own.val, own.test])}
        seen = {copies[i] for i in np.concatenate([cut.train, cut.val])}
        missing = {f"malignant/copy-{n:02}.bmp" for n in range(10) if f"benign/{n:02}.png" in held}
        assert missing
        assert set(copies) - seen == missing
        hashes = prepared.stages[0].data.images.fingerprints.whole[np.concatenate([cut.train, cut.val])]
        told = tuple(f"{value:016x}" for value in hashes)
        assert not len(seen_before(prepared.data, np.concatenate([own.val, own.test]), told))
    (stage_plan, fits), _ = all_fits(prepared)
    assert [fit.name for fit in fits] == [f"fold-{k}/stages/first" for k in range(3)]
    assert stage_plan.stamps == ()


@pytest.mark.parametrize(
    ("more", "folders"),
    [
        ({"grid": {"optimizer.lr": [1e-3, 1e-2]}}, ["stages/first"]),  # the stage has an optimizer of its own
        ({"repeats": 3}, ["stages/first"]),
        (
            {"grid": {"batch": [8, 16]}},
            ["holdout/000/stages/first", "holdout/001/stages/first"],
        ),  # the stage takes it over
        (
            {"grid": {"batch": [8, 16], "optimizer.lr": [1e-3, 1e-2]}},
            ["holdout/000/stages/first", "holdout/002/stages/first"],
        ),
        ({"grid": {"stages.0.epochs": [1, 2]}}, ["holdout/000/stages/first", "holdout/001/stages/first"]),
        ({"split.folds": 3, "split.inner": 2}, ["stages/first"]),
    ],
)
def test_fits_share_a_stage_where_what_they_try_does_not_touch_it(more: dict[str, Any], folders: list[str]) -> None:
    first = {"name": "first", "dataset": "phantom:n=40,seed=7", "optimizer": {"name": "sgd", "lr": 1e-2}}
    prepared = prepare(made(first, **more))
    (_, fits), (_, finals) = all_fits(prepared)
    assert [fit.name for fit in fits] == folders
    assert {final.after for final in finals} == set(folders)
    assert {fit.recipe.seed for fit in fits} == {0}


def _stopping(after: int) -> Callable[[], bool]:
    asked = iter(range(10_000))
    return lambda: next(asked) >= after


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return train(made(OTHER | {"epochs": 2}, SAME, batch=8), tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize(("batches", "where"), [(12, "stages/same"), (17, "holdout")])
def test_a_run_stopped_in_a_stage_goes_on_to_the_same_bytes(
    whole: RunDirectory, tmp_path: Path, batches: int, where: str
) -> None:
    with pytest.raises(Stopped):
        train(whole.recipe, tmp_path / "run", stop=_stopping(batches))
    kept = [path.parent.relative_to(tmp_path / "run").as_posix() for path in tmp_path.rglob("last.safetensors")]
    assert kept == [where]
    complete = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    run = resume(tmp_path / "run")
    for path, written in complete.items():
        assert path.stat().st_mtime_ns == written  # what was complete was not trained again
    for folder in (".", "holdout", "stages/other", "stages/same"):
        for name in FILES:
            assert (run.path / folder / name).read_bytes() == (whole.path / folder / name).read_bytes(), (
                f"{folder}/{name}"
            )


def test_a_run_with_stages_is_not_extended(staged: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has earlier stages"):
        extend(staged.path, 5, tmp_path / "longer")
    assert not (tmp_path / "longer").exists()


def test_layers_that_a_strategy_put_in_go_on_to_a_stage_with_the_same() -> None:
    prepared = prepare(made(SAME, strategy="drs"))
    model, _ = prepared.stages[0].build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25)
    state = {
        name: t.clone() for name, t in model.backbone.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    following, _ = prepared.after(StageResult(state, prepared.lineage, ())).build()
    own = following.backbone.state_dict()
    assert any("depth_weight" in name for name in state)
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


def test_layers_that_the_next_stage_has_no_place_for_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match=r"Stage 'same' trains by 'drs'.*by 'full'"):
        train(made(SAME | {"strategy": "drs"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    prepare(made(SAME | {"strategy": "full"}, strategy="drs"))  # the other way is fine


def test_a_strategy_that_starts_afresh_cannot_follow_a_stage() -> None:
    with pytest.raises(UsageError, match="'scratch' starts from random weights"):
        prepare(made(SAME | {"strategy": "full"}, strategy="scratch"))


def test_a_substitute_is_stamped_on_everything_that_comes_after_it() -> None:
    stamp = "stage other: phantom:n=40,seed=7 is a substitute for images of cancer cells"
    prepared = prepare(made(SAME, OTHER | {"substitute_for": "images of cancer cells"}))
    assert [stamp in one.stamps for one in (*prepared.stages, prepared)] == [False, True, True]


def test_a_stage_takes_what_it_leaves_out_from_the_recipe() -> None:
    recipe = made(
        OTHER,
        SAME,
        root=None,
        batch=8,
        phases=[{"name": "sgd", "lr": 0.1, "epochs": 3}],
        classes=["benign", "malignant"],
    )
    other, same = recipe.of_stage(0), recipe.of_stage(1)
    assert (other.batch, other.strategy, other.backbone) == (8, "full", "test_resnet")
    assert (other.optimizer.name, other.optimizer.lr) == ("adam", 1e-2)  # the part that it says over the recipe's
    assert other.phases == () and same.phases == ()
    assert (same.classes, same.dataset) == (("benign", "malignant"), "phantom:n=40")
    assert (
        made(OTHER | {"optimizer": None}, SAME, phases=[{"name": "sgd", "lr": 0.1, "epochs": 3}])
        .of_stage(0)
        .phases[0]
        .epochs
        == 3
    )


def test_root_and_classes_go_to_a_stage_of_the_same_data_set_only() -> None:
    stages = [{"name": "a", "dataset": "csv"}, {"name": "b"}, {"name": "c", "root": "there"}]
    recipe = made(*stages, dataset="folder", root="here", classes=["x", "y"])
    assert [recipe.of_stage(n).root for n in range(3)] == [None, Path("here"), Path("there")]
    assert [recipe.of_stage(n).classes for n in range(3)] == [None, ("x", "y"), ("x", "y")]


def test_the_written_recipe_means_the_same(staged: RunDirectory) -> None:
    again = load(str(staged.path / "recipe.yaml"))
    assert [again.of_stage(n) for n in range(2)] == [
        staged.recipe.of_stage(n).model_copy(update={"name": again.of_stage(n).name}) for n in range(2)
    ]


def test_a_dotted_key_counts_stages(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: busi\nbackbone: resnet9\nstages: [{name: a}, {name: b, dataset: folder}]\n")
    recipe = load(str(path), {"stages.1.root": str(tmp_path), "stages.0.optimizer.lr": 0.5})
    assert recipe.stages[1].root == tmp_path
    assert recipe.of_stage(0).optimizer.lr == 0.5
    with pytest.raises(UsageError, match=r"stages\.2\.root: '2' is no entry of a list of 2"):
        load(str(path), {"stages.2.root": "x"})
    with pytest.raises(UsageError, match=r"unknown key 'stages\.rot'.*Did you mean 'root'"):
        load(str(path), {"stages.0.rot": "x"})
    with pytest.raises(UsageError, match="two stages have one name"):
        load(str(path), {"stages.1.name": "a"})
    with pytest.raises(UsageError, match=r"'stages\.0\.dataset' cannot differ"):
        load(str(path), {"grid": {"stages.0.dataset": ["busi", "folder"]}})


def test_a_stage_without_its_folder_is_told_how_to_name_it() -> None:
    with pytest.raises(UsageError, match=r"Stage 'cells' needs the folder.*--set stages\.0\.root=DIR"):
        prepare(made({"name": "cells", "dataset": "folder"}))


def test_a_stage_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    """One class of the stage is wholly in the test part of the final split."""
    final, stage = _pictures(tmp_path / "final", 0), _pictures(tmp_path / "stage", 1)
    listed = {"train": [], "test": []}
    for number in range(20):
        listed["test" if number < 5 else "train"] += [f"benign/{number:02}.png", f"malignant/{number:02}.png"]
    (tmp_path / "split.csv").write_text(
        "sample,part\n" + "".join(f"{name},{part}\n" for part, names in listed.items() for name in names)
    )
    for path in (stage / "malignant").iterdir():
        path.unlink()
    for number in range(5):
        (stage / "malignant" / f"{number:02}.png").write_bytes((final / "benign" / f"{number:02}.png").read_bytes())
    with pytest.raises(UsageError, match="Stage 'first' has no image of class 'malignant' left for split"):
        prepare(
            made(
                {"name": "first", "dataset": "folder", "root": str(stage)},
                dataset="folder", root=str(final), **{"split.file": str(tmp_path / "split.csv")},
            )
        )  # fmt: skip


def test_fits_side_by_side_give_the_same_run(tmp_path: Path) -> None:
    recipe = made({"name": "same", "val": 0.3}, **{"split.folds": 2})
    alone, together = train(recipe, tmp_path / "a"), train(recipe, tmp_path / "b", jobs=Jobs(2))
    for folder in (".", "fold-0", "fold-1", "fold-0/stages/same", "fold-1/stages/same"):
        for name in FILES:
            assert (alone.path / folder / name).read_bytes() == (together.path / folder / name).read_bytes()
