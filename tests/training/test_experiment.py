"""The leak guard: what is refused, and what is stamped when the user insists."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo import cli
from mammozoo.config.recipe import Recipe, load
from mammozoo.data.duplicates.grouping import group
from mammozoo.data.splits.leakage import LeakageError, seen_before
from mammozoo.data.splits.make import Split
from mammozoo.errors import UsageError
from mammozoo.evaluation.evaluate import evaluate
from mammozoo.models.config import LEAKY, SYNTHETIC
from mammozoo.progress import Progress
from mammozoo.training.experiment import train
from mammozoo.training.prepare import check_leakage, prepare
from mammozoo.training.run_directory import RunDirectory

TINY = {"dataset": "phantom:n=60", "backbone": "test_resnet", "weights": "random", "size": 64, "augment": ["hflip"]}


def _picture(rng: np.random.Generator) -> Image.Image:
    """Coarse blotches: no two of them have nearly the same perceptual hash."""
    blotches = Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8))
    return blotches.resize((64, 64), Image.Resampling.BICUBIC)


def _folder(root: Path, seed: int, copies: int = 1) -> Path:
    rng = np.random.default_rng(seed)
    for label in ("benign", "malignant"):
        (root / label).mkdir(parents=True)
        for number in range(20):
            picture = _picture(rng)
            for copy in range(copies):  # a copy as it happens: brighter, and in another format
                picture.point(lambda value, k=copy: min(255, value + 2 * k)).save(
                    root / label / f"{number:02}-{copy}.{'bmp' if copy else 'png'}"
                )
    return root


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty different pictures in two classes."""
    return _folder(tmp_path_factory.mktemp("pictures") / "data", seed=0)


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty other pictures, each three times, nearly the same."""
    return _folder(tmp_path_factory.mktemp("copied") / "data", seed=1, copies=3)


def _recipe(root: Path, **more: object) -> Recipe:
    return load(None, {
        "dataset": "folder", "root": str(root), "backbone": "test_resnet", "weights": "random", "strategy": "frozen",
        "size": 32, "epochs": 1, "augment": [], "device": "cpu", **more,
    })  # fmt: skip


@pytest.fixture(scope="session")
def picture_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A model that has seen most of `pictures`."""
    return train(_recipe(pictures), tmp_path_factory.mktemp("picture-run") / "run")


class Notes(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_copies_are_kept_on_one_side(copied: Path) -> None:
    made = prepare(_recipe(copied))
    assert len(made.data.samples) == 120
    assert len(np.unique(made.data.groups)) == 40
    (split,) = made.splits
    of = [{made.data.names[i][:-6] for i in split.part(part)} for part in ("train", "val", "test")]
    assert not of[0] & of[1] and not of[0] & of[2] and not of[1] & of[2]
    assert made.stamps == ()


def test_a_split_by_image_is_refused(copied: Path) -> None:
    with pytest.raises(UsageError, match="allow_leakage"):
        _recipe(copied, **{"split.by": "image"})
    recipe = _recipe(copied).model_copy(update={"split": _recipe(copied).split.model_copy(update={"by": "image"})})
    with pytest.raises(LeakageError):  # even a recipe that was not validated
        prepare(recipe)


def test_a_leaky_run_is_stamped_wherever_it_shows(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(_recipe(copied, allow_leakage=True, **{"split.by": "image"}), tmp_path / "run")
    assert json.loads((run.path / "run.json").read_text())["stamps"] == [LEAKY]
    for config in ("config.json", "holdout/config.json"):
        assert json.loads((run.path / config).read_text())["mammozoo"]["stamps"] == [LEAKY]
    assert LEAKY[1:] in (run.path / "README.md").read_text()
    image = next((copied / "benign").iterdir())
    monkeypatch.setattr(sys, "argv", ["mammozoo", "predict", str(image), "--model", str(run.path), "--json"])
    _run_cli()
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert LEAKY in result["warnings"]
    monkeypatch.setattr(sys, "argv", ["mammozoo", "predict", str(image), "--model", str(run.path)])
    _run_cli()
    assert f"! {LEAKY}" in capsys.readouterr().err


def _run_cli() -> None:
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code


def test_an_honest_run_has_no_stamp_and_remembers_what_it_saw(picture_run: RunDirectory) -> None:
    config = json.loads((picture_run.path / "config.json").read_text())["mammozoo"]
    assert config["stamps"] == []
    counts = config["training"]["images"]
    assert len(config["training"]["seen"]) == counts["train"] + counts["val"] == 40 - counts["test"]


def test_weights_that_have_seen_the_test_images_are_refused(
    picture_run: RunDirectory, pictures: Path, tmp_path: Path
) -> None:
    """The same pictures, split by another seed: some test images were in the other's training part."""
    recipe = _recipe(pictures, weights=f"zoo:{picture_run.path}", **{"split.seed": 1})
    with pytest.raises(LeakageError, match=r"already seen \d+ of the test images .*(benign|malignant)/"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    stamped = prepare(recipe.model_copy(update={"allow_leakage": True}))
    assert stamped.stamps == (LEAKY,)


def test_weights_that_have_not_seen_them_are_welcome_and_hand_on_their_memory(
    picture_run: RunDirectory, copied: Path, tmp_path: Path
) -> None:
    made = prepare(_recipe(copied, weights=f"zoo:{picture_run.path}"))
    assert made.stamps == ()
    before = json.loads((picture_run.path / "config.json").read_text())["mammozoo"]["training"]["seen"]
    assert list(made.lineage.seen) == before
    run = train(_recipe(copied, weights=f"zoo:{picture_run.path}"), tmp_path / "run")
    after = json.loads((run.path / "config.json").read_text())["mammozoo"]["training"]["seen"]
    assert after[: len(before)] == before and len(after) > len(before)


def test_the_same_split_again_is_no_leak(picture_run: RunDirectory, pictures: Path) -> None:
    """The test part is the same, so nothing of it was seen."""
    assert prepare(_recipe(pictures, weights=f"zoo:{picture_run.path}")).stamps == ()


def test_a_patient_on_both_sides_is_a_leak(pictures: Path) -> None:
    data = prepare(_recipe(pictures)).data
    samples = [dataclasses.replace(sample, patient=f"P{i // 2}") for i, sample in enumerate(data.samples)]
    data = dataclasses.replace(data, samples=samples, groups=group([s.patient for s in samples]))
    whole = [Split("holdout", np.arange(0, 20), np.arange(20, 30), np.arange(30, 40))]
    check_leakage(whole, data, ())
    cut = [Split("holdout", np.arange(0, 21), np.arange(21, 30), np.arange(30, 40))]
    with pytest.raises(LeakageError):
        check_leakage(cut, data, ())


def test_near_duplicates_of_seen_images_are_found(copied: Path) -> None:
    data = prepare(_recipe(copied)).data
    first = int(data.images.fingerprints.whole[0])
    known = seen_before(data, np.arange(120), (f"{first:016x}",))
    assert {data.names[i] for i in known} == {f"benign/00-{k}.{'bmp' if k else 'png'}" for k in range(3)}
    assert len(seen_before(data, np.arange(120), ())) == 0


def test_evaluating_on_images_of_the_training_says_so(picture_run: RunDirectory, pictures: Path, copied: Path) -> None:
    notes = Notes()
    counts = json.loads((picture_run.path / "config.json").read_text())["mammozoo"]["training"]["images"]
    result = evaluate(picture_run.path, "folder", pictures, device="cpu", progress=notes)
    assert result.stamps == (LEAKY,)
    assert any(f"{counts['train'] + counts['val']} of 40 images were seen" in said for said in notes.said)
    clean = Notes()
    assert evaluate(picture_run.path, "folder", copied, device="cpu", progress=clean).stamps == ()
    assert not any("seen" in said for said in clean.said)


def test_generated_images_are_stamped_and_so_is_what_starts_from_them(
    tiny_run: RunDirectory, copied: Path, tmp_path: Path
) -> None:
    assert list(tiny_run.facts["stamps"]) == [SYNTHETIC]
    start = train(load(None, TINY | {"strategy": "frozen", "epochs": 1}), tmp_path / "start")
    assert prepare(_recipe(copied, weights=f"zoo:{start.path}")).stamps == (SYNTHETIC,)


def test_a_run_needs_nothing_but_its_folder(picture_run: RunDirectory, pictures: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(picture_run.path, tmp_path / "elsewhere"))
    assert RunDirectory.open(moved).recipe == picture_run.recipe
    assert evaluate(moved, "folder", pictures, device="cpu").predictions.outcome.labels.size == 40
