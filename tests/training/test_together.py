"""All models of a run as one, and one model trained on all its images: `RUN/ensemble`, `--member`, `train --refit`."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.special import expit, logit

from mammozoo import api
from mammozoo.config.loading import load
from mammozoo.data.io.images import read_image
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.scores import OVERFITTING
from mammozoo.evaluation.thresholds import choose_threshold
from mammozoo.files import read_table
from mammozoo.models.config import read_config
from mammozoo.models.ensemble import Ensemble
from mammozoo.models.model import probabilities
from mammozoo.training import refit as refitting
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.experiment import train
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.portable import Portable, metadata, write_portable

from ..helpers import tiny

POINTS = {"optimizer.lr": [1e-3, 3e-3]}


def speckles(root: Path, seed: int) -> Path:
    """24 pictures of each class."""
    draw = np.random.default_rng(seed)
    for label in ("benign", "malignant"):
        for number in range(24):
            speckle = draw.integers(0, 255, (96, 96), np.uint8) // (1 + (label == "malignant"))
            (root / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(speckle).save(root / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Three folds of images that are not synthetic, with two points each; the second point trains for other epochs."""
    root = speckles(tmp_path_factory.mktemp("own"), 0)
    recipe = tiny(dataset="folder", root=str(root), split={"folds": 3}, epochs=3, strategy="full", grid=POINTS, seed=1)
    return train(recipe, tmp_path_factory.mktemp("runs") / "folds")


@pytest.fixture(scope="module")
def repeats(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """One split, three seeds."""
    return train(tiny(dataset="phantom:n=60", repeats=3), tmp_path_factory.mktemp("runs") / "repeats")


@pytest.fixture(scope="module")
def whole(folds: RunDirectory) -> Path:
    """The model on all images of `folds`."""
    return refitting.refit(folds.path)


@pytest.fixture
def picture(folds: RunDirectory) -> Path:
    """An image of that data."""
    assert folds.recipe.root is not None
    return folds.recipe.root / "benign" / "0.png"


def test_the_probability_is_the_mean_of_the_members(folds: RunDirectory, picture: Path) -> None:
    members = read_config(folds.path / "ensemble").members
    each = [api.load(folds.path, member=member.name).predict(picture, force=True)[0] for member in members]
    together = api.load(folds.path)
    answer = together.predict(picture, force=True)[0]
    assert len(members) == 3 and isinstance(together.model, Ensemble)
    means = np.mean([list((one.probabilities or {}).values()) for one in each], axis=0)
    np.testing.assert_allclose(list((answer.probabilities or {}).values()), means, atol=1e-6)
    cut = together.config.cut()
    alike = [((one.probabilities or {})["malignant"] >= cut) == (answer.label == "malignant") for one in each]
    assert answer.agreement == pytest.approx(np.mean(alike))


def test_recalibrated_together_they_answer_at_the_new_point(folds: RunDirectory, tmp_path: Path, command) -> None:
    """With the temperature for which the threshold was chosen: in `predict`, in `evaluate` and in an exported file."""
    clinic, here = speckles(tmp_path / "clinic", 7), tmp_path / "here"
    api.recalibrate(folds.path, clinic, out=here)
    config, picture = read_config(here), clinic / "malignant" / "0.png"
    assert len(config.members) == 3 and config.temperature != 1
    before, after = (api.load(folder).predict(picture, force=True)[0] for folder in (folds.path, here))
    odds = [np.log(list((one.probabilities or {}).values())) @ [-1, 1] for one in (before, after)]
    assert odds[1] * config.temperature == pytest.approx(odds[0], abs=1e-5)
    p = (after.probabilities or {})["malignant"]
    assert after.label == ("malignant" if p >= config.cut() else "benign") and after.threshold == config.cut()
    alone = [api.load(folds.path, member=one.name).predict(picture, force=True)[0] for one in config.members]
    each = [expit(logit((one.probabilities or {})["malignant"]) / config.temperature) for one in alone]
    assert after.agreement == pytest.approx(
        np.mean([(q >= config.cut()) == (after.label == "malignant") for q in each])
    )
    assert (
        command("evaluate", here, "--dataset", "folder", "--root", clinic, "--csv", tmp_path / "scored.csv").code == 0
    )
    scored = {row["sample"]: row for row in read_table(tmp_path / "scored.csv")}["malignant/0.png"]
    assert float(scored["p_malignant"]) == pytest.approx(p, abs=1e-6) and scored["decision"] == after.label
    model = api.load(here).model
    facts = metadata(config, "")
    x = config.input.normalize(torch.from_numpy(config.input.preparer()(read_image(picture))[None])).contiguous()
    with torch.inference_mode():
        logits = Portable(model).eval()(x)
    assert probabilities(logits, facts["temperature"])[0, 1].item() == pytest.approx(p, abs=1e-6)
    assert write_portable(model, config, "torchscript", tmp_path / "here.pt", [picture]).difference < 1e-5
    assert "temperature" in command("predict", here, picture, "--force").ok.err


@pytest.mark.parametrize("classes", [2, 3])
def test_logits_of_an_ensemble_give_its_mean(classes: int) -> None:
    def member(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        one = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1 if classes == 2 else classes))
        one.classes, one.layout = tuple("abc"[:classes]), torch.channels_last  # type: ignore[assignment]
        return one

    ensemble = Ensemble([member(0), member(1)], [0.5, 2.0])  # type: ignore[list-item]
    x = torch.randn(4, 3, 2, 2)
    ensemble.requires_grad_(False)
    np.testing.assert_allclose(probabilities(ensemble(x)), ensemble.each(x).mean(0), atol=1e-6)
    far = ensemble(x * 1e6)
    assert bool(torch.isfinite(far).all())


def test_thresholds_are_chosen_on_the_pooled_validation_parts_alone(folds: RunDirectory) -> None:
    config, table = read_config(folds.path / "ensemble"), read_predictions(folds.path / "ensemble", "val")
    val = table.of("val").outcome
    assert config.cut("youden") == choose_threshold("youden", val.labels, val.probabilities[:, 1])
    assert config.thresholds["youden"].chosen_on == "pooled validation"
    rows = read_predictions(folds.path)
    assert set(table.of("val").samples) == set(rows.of("val").samples)


def test_scores_are_those_of_the_run_where_no_image_is_new_to_all(folds: RunDirectory, command) -> None:
    """The validation images, on which its threshold is chosen, are test images of other folds: nothing may be scored with it."""
    config = read_config(folds.path / "ensemble")
    own = folds.facts["scores"]
    assert config.scores == {name: own[name] for name in own if name not in OVERFITTING} and config.scores_of
    assert set(read_predictions(folds.path / "ensemble", "val").parts) == {"val"}
    assert config.training.images == {"train": 48, "val": 0, "test": 0}
    command("evaluate", folds.path / "ensemble").refused(2, "no test images of its own")
    part = command("evaluate", folds.path, "--member", "best", "--threshold", "youden", "--json").ok.json
    assert part["n"] == 16, "that fold's own test images"


def test_repeats_share_a_test_part_so_the_ensemble_has_scores_of_its_own(repeats: RunDirectory) -> None:
    config, table = read_config(repeats.path / "ensemble"), read_predictions(repeats.path / "ensemble").of("test")
    rows = read_predictions(repeats.path).of("test")
    # Of three seeds each.
    means = [rows.outcome.probabilities[rows.samples == name, 1].mean() for name in table.samples.tolist()]
    assert not config.scores_of and len(config.members) == 3
    assert table.outcome.probabilities[:, 1].tolist() == pytest.approx(means)
    assert config.training.images["test"] == len(table) == 12
    assert "Of this model, on the held-out test part" in (repeats.path / "ensemble" / "README.md").read_text()


def test_a_single_fit_is_no_ensemble(tiny_run: RunDirectory) -> None:
    assert not (tiny_run.path / "ensemble").exists()
    assert api.load(tiny_run.path).folder == tiny_run.path
    with pytest.raises(NotFoundError, match="holdout"):
        api.load(tiny_run.path, member="fold-1")


def test_images_of_every_member_count_as_seen(folds: RunDirectory) -> None:
    result = api.evaluate(folds.path, "folder", folds.recipe.root)
    assert result.evaluation.seen == 48 and any("leak" in stamp for stamp in result.stamps)
    assert result.evaluation.config.members


def test_members_that_disagree_make_it_abstain(folds: RunDirectory, picture: Path) -> None:
    loaded = api.load(folds.path)
    models: Any = loaded.model.members
    torch.nn.init.constant_(models[0].head[-1].bias, 30.0)  # one of three for malignant
    for member in (1, 2):
        torch.nn.init.constant_(models[member].head[-1].bias, -30.0)
    config = loaded.config.model_copy(
        update={"abstention": loaded.config.abstention.model_copy(update={"margin": 0.0})}  # type: ignore[union-attr]
    )
    answer = dataclasses.replace(loaded, config=config).predict(picture, force=True, abstain=True)[0]
    assert answer.abstained and answer.label is None and answer.agreement == pytest.approx(2 / 3, abs=0.34)


def test_what_takes_one_network_refuses_an_ensemble(folds: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ensemble of 3 models"):
        train(tiny(weights=f"run:{folds.path / 'ensemble'}", strategy="full"), tmp_path / "new")
    start = train(tiny(weights=f"run:{folds.path}", strategy="full"), tmp_path / "best")  # as ever the best fold's
    assert start.facts["status"] == "done"


def test_an_ensemble_is_published_and_found_again(
    folds: RunDirectory, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "--license Apache-2.0 --data-terms none --name three --allow-stamped"
    assert command("zoo", "push", folds.path / "ensemble", "--to", tmp_path / "zoo", *words.split()).ok
    monkeypatch.setenv("MAMMOZOO_ZOO", str(tmp_path / "zoo"))
    assert isinstance(api.load("zoo:three").model, Ensemble)
    assert "roc_auc" not in (tmp_path / "zoo/models/three/1.0.0/README.md").read_text(), "no results of this model"
    entry = (tmp_path / "zoo" / "zoo.yaml").read_text()
    assert "part: test parts of other models" in entry
    backbone = [
        "zoo",
        "push",
        folds.path / "ensemble",
        "--repo",
        "a/b",
        "--as",
        "backbone",
        "--dry-run",
        *words.split(),
    ]
    command(*backbone).refused(2, "ensemble")


def test_member_on_the_command_line(folds: RunDirectory, picture: Path, tmp_path: Path, command) -> None:
    for _ in range(2):  # the second replaces what the first wrote
        assert command("predict", picture, "--model", folds.path, "--csv", tmp_path / "out.csv", "--force").code == 0
    together = command("predict", picture, "--model", folds.path, "--json", "--force").ok.json
    assert f"SHA-256 {together['model']['sha256']}" in command("cite", folds.path).ok.out
    page = tmp_path / "page.html"
    assert command("report", folds.path, "--no-heatmaps", "--out", page).code == 0
    assert together["model"]["sha256"] in page.read_text(encoding="utf-8")
    one = command("predict", picture, "--model", folds.path, "--member", "best", "--json", "--force").ok.json
    assert together["model"]["sha256"] != one["model"]["sha256"]
    assert together["results"][0]["agreement"] is not None and one["results"][0]["agreement"] is None
    mine = [
        "explain",
        folds.path,
        "--member",
        "fold-1/000",
        "--dataset",
        "folder",
        "--root",
        folds.recipe.root,
        "--json",
    ]
    rows = command(*mine, "--out", "own").ok.json["results"]
    assert {row["fold"] for row in rows} == {"fold-1/000"}, "its own test images alone"
    command("explain", folds.path, picture, "--member", "fold-7").refused(3, "fold-7", "best")
    assert command("explain", folds.path, picture, "--out", "maps").ok and [*Path("maps").rglob("*.npy")]


def test_refit_trains_the_best_point_on_everything(folds: RunDirectory, whole: Path) -> None:
    config, history = read_config(whole), (whole / "history.csv").read_text().splitlines()
    one = read_config(folds.path / "fold-0/000")
    assert config.training.images == {"train": 48, "val": 0, "test": 0}
    assert len(config.training.seen) == 48 > len(one.training.seen)
    assert config.scores_of and not config.members
    assert config.scores["auc"] == folds.facts["scores"]["auc"]
    assert "optimizer.lr 0.0" in (whole / "README.md").read_text()
    assert 1 <= len(history) - 1 <= 3
    weights, theirs = load_file(whole / "model.safetensors"), load_file(folds.path / "model.safetensors")
    assert weights.keys() == theirs.keys()
    assert any(not torch.equal(weights[name], theirs[name]) for name in weights)
    assert "all 48 of them" in (whole / "README.md").read_text()
    api.load(folds.path, member="refit")


def test_a_refit_that_was_stopped_goes_on_to_the_same_bytes(folds: RunDirectory, whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folds.path, tmp_path / "copy", ignore=shutil.ignore_patterns("refit")))
    calls = iter([False, True])
    with pytest.raises(Stopped):
        refitting.refit(copy, stop=lambda: next(calls, True))
    assert (copy / "refit" / "last.safetensors").is_file() and not (copy / "refit" / "config.json").exists()
    refitting.refit(copy)
    assert (copy / "refit" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not (copy / "refit" / "last.safetensors").exists()


def test_refit_is_refused_where_it_cannot_be(folds: RunDirectory, whole: Path, tmp_path: Path, command) -> None:
    command("train", "--refit", folds.path).refused(9, "complete")
    command("train", "--refit", folds.path, "--epochs", 3).refused(2, "nothing else")
    command("train", "--refit", tmp_path).refused(3, "")
    plateau = train(tiny(dataset="phantom:n=60", schedule={"kind": "plateau"}), tmp_path / "plateau")
    command("train", "--refit", plateau.path).refused(2, "plateau")


def test_a_split_cannot_have_the_name_of_such_a_folder(tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    names = [f"phantom-{number:04d}" for number in range(3)]
    parts = zip(names, ("train", "val", "test"), strict=True)
    table.write_text("sample,part,split\n" + "".join(f"{name},{part},ensemble\n" for name, part in parts))
    with pytest.raises(UsageError, match="cannot be the name of a split"):
        train(load(None, tiny().model_dump(mode="json") | {"split.file": str(table)}), tmp_path / "run")
