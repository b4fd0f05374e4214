"""A model recalibrated on local images: what is chosen, what is promised of it, and that every command takes it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import log_loss, recall_score

from mammozoo import api
from mammozoo.data.joined import open_dataset
from mammozoo.errors import ConflictError, NotFoundError, NotVerifiedError, UsageError
from mammozoo.evaluation.recalibration import SIZES, Expected, Point, expectations, verdict
from mammozoo.evaluation.thresholds import fit_temperature
from mammozoo.files import sha256
from mammozoo.models.config import read_config
from mammozoo.progress import Progress

from ..builtin.trees.drawing import save


def cohort(scale: float, shift: float, n: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) logits that are `scale` times the true ones and `shift` too high, (n,) labels, (n,) groups of two images."""
    rng = np.random.default_rng(5)
    true = np.repeat(rng.normal(-0.5, 2, n // 2), 2)
    labels = np.repeat(rng.random(n // 2) < 1 / (1 + np.exp(-true[::2])), 2).astype(np.intp)
    return scale * true + shift, labels, np.repeat(np.arange(n // 2), 2)


def test_scores_of_a_point_are_those_of_scikit_learn() -> None:
    logits, labels, _ = cohort(3, 1)
    sensitivity, specificity, loss = Point(2.0, 0.6).scored(logits, labels)
    p = expit(logits / 2)
    assert sensitivity == pytest.approx(recall_score(labels, p >= 0.6))
    assert specificity == pytest.approx(recall_score(labels, p >= 0.6, pos_label=0))
    assert loss == pytest.approx(log_loss(labels, p))
    fitted = fit_temperature(torch.tensor(logits)[:, None], labels)
    assert Point.chosen(logits, labels, "half") == Point(pytest.approx(fitted, rel=1e-4), 0.5)


def test_a_model_that_is_off_gains_and_one_that_is_right_does_not() -> None:
    off, labels, groups = cohort(4, 6)
    found = expectations(off, labels, groups, Point(1.0, 0.5), "youden", Progress())
    assert [one.images for one in found] == [*SIZES]
    last = found[-1]
    assert last.worth and last.after[2] < last.before[2] and sum(last.after[:2]) > sum(last.before[:2])
    widths = [one.high[0] - one.low[0] for one in found]
    assert widths[0] > widths[-1] and all(one.low[0] <= one.after[0] <= one.high[0] for one in found)
    assert verdict(found).startswith("Worth it from")
    right, labels, groups = cohort(1, 0)
    assert not expectations(right, labels, groups, Point(1.0, 0.5), "youden", Progress())[0].worth
    few = expectations(right[:60], labels[:60], groups[:60], Point(1.0, 0.5), "sensitivity:0.9", Progress())
    assert [one.images for one in few] == [25]
    with pytest.raises(UsageError, match="10 of each"):
        expectations(right[:16], labels[:16], groups[:16], Point(1.0, 0.5), "half", Progress())


def test_patients_who_choose_are_not_scored(monkeypatch) -> None:
    logits, labels, groups = cohort(2, 1, 120)
    order, chose, splits = (
        {float(logit): place for place, logit in enumerate(logits)},
        set[int](),
        set[frozenset[int]](),
    )
    choose, score = Point.chosen.__func__, Point.scored

    def of(some: np.ndarray) -> set[int]:
        return {int(groups[order[float(logit)]]) for logit in some}

    def chosen(cls, some, *rest):
        chose.clear()
        chose.update(of(some))
        splits.add(frozenset(chose))
        return choose(cls, some, *rest)

    def scored(self, some, labels):
        assert not chose & of(some) and len(chose) + len(of(some)) == 60
        return score(self, some, labels)

    monkeypatch.setattr(Point, "chosen", classmethod(chosen))
    monkeypatch.setattr(Point, "scored", scored)
    assert len(expectations(logits, labels, groups, Point(1.0, 0.5), "half", Progress())) == 2
    assert len(splits) == 200


def test_the_verdict_says_from_where_on_without_exception() -> None:
    def one(images: int, worth: bool) -> Expected:
        return Expected(images, (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), worth)

    assert "from 100 images" in verdict([one(25, True), one(50, False), one(100, True), one(200, True)])
    assert verdict([one(25, True), one(50, False)]).startswith("Not worth it with up to 50")
    assert verdict([]).startswith("Too few")


# ---------------------------------------------------------------- the model that is written


@pytest.fixture(scope="session")
def clinic(tmp_path_factory) -> Path:
    """Sixty pictures of phantoms, in folders by class."""
    root, dataset = tmp_path_factory.mktemp("clinic"), open_dataset("phantom:n=60,seed=77", None)
    for place, sample in enumerate(dataset.samples()):
        save(root / sample.label / f"{place:02}.png", dataset.read(sample))
    return root


@pytest.fixture
def here(run_copy: Path, clinic: Path, tmp_path: Path) -> Path:
    api.recalibrate(run_copy, clinic, out=tmp_path / "here")
    return tmp_path / "here"


def test_it_names_its_parent_and_every_command_takes_it(here: Path, run_copy: Path, clinic: Path, command) -> None:
    content, parent = json.loads((here / "config.json").read_text()), read_config(run_copy)
    assert content["adapter"]["base"] == {"name": parent.name, "sha256": sha256(run_copy / "model.safetensors")}
    assert not (here / "model.safetensors").exists() and (here / "adapter.safetensors").stat().st_size < 100
    mine = read_config(here)
    assert mine.calibration and "60 images" in mine.calibration.chosen_on and mine.threshold == parent.threshold
    assert sha256(run_copy / "model.safetensors")[:16] in (here / "README.md").read_text()[:4000]
    image = str(next((clinic / "benign").iterdir()))
    before, after = (api.predict(image, folder).predictions[0] for folder in (run_copy, here))
    odds = [np.log(list(one.probabilities.values())) @ [-1, 1] for one in (before, after)]
    assert odds[1] * mine.temperature == pytest.approx(odds[0] * parent.temperature, abs=1e-6)
    assert after.threshold == mine.cut() != before.threshold
    scored = json.loads(command("evaluate", here, "--dataset", "folder", "--root", clinic, "--json").ok.out)
    assert scored["stamps"] and any("leak" in stamp for stamp in scored["stamps"])  # these images chose
    said = json.loads(command("recalibrate", run_copy, clinic, "--out", here.parent / "again", "--json").ok.out)
    assert (said["images"], said["expected"][0]["images"]) == (60, 25)
    assert (here.parent / "again" / "config.json").read_bytes() == (here / "config.json").read_bytes()


def test_a_data_set_that_needs_no_folder_is_named(run_copy: Path, command, tmp_path: Path) -> None:
    said = json.loads(
        command("recalibrate", run_copy, "phantom:n=60,seed=77", "--out", tmp_path / "b", "--json").ok.out
    )
    assert said["images"] == 60
    command("recalibrate", run_copy, "clinc", "--out", "c").refused(3, "no recipe, folder or table 'clinc'")


def test_it_is_pushed_whole_and_as_an_adapter(
    here: Path, run_copy: Path, clinic: Path, command, tmp_path, monkeypatch
) -> None:
    terms = ("--to", tmp_path / "zoo", "--license", "MIT", "--data-terms", "none", "--allow-stamped")
    assert command("zoo", "push", here, "--name", "whole", *terms).ok
    assert command("zoo", "push", run_copy, "--name", "theirs", *terms).ok
    monkeypatch.setenv("MAMMOZOO_ZOO", str(tmp_path / "zoo"))
    assert read_config(api.load("whole").folder).thresholds == read_config(here).thresholds
    api.recalibrate("theirs", clinic, out=tmp_path / "ours")
    assert not (tmp_path / "ours" / "parent.txt").exists()
    assert command("zoo", "push", tmp_path / "ours", "--as", "adapter", *terms).ok
    assert read_config(api.load("ours").folder).thresholds == read_config(here).thresholds
    assert "Temperature" in (api.load("ours").folder / "README.md").read_text()


def test_what_cannot_be_is_refused(here: Path, run_copy: Path, clinic: Path, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="here"):
        api.recalibrate(run_copy, clinic, out=here)
    with pytest.raises(UsageError, match="3 classes"):
        api.recalibrate("busi-resnet9", clinic, out=tmp_path / "three")
    with pytest.raises(UsageError, match="rule"):
        api.recalibrate(run_copy, clinic, out=tmp_path / "rule", threshold="best")
    assert not (tmp_path / "three").exists() and not (tmp_path / "rule").exists()
    twice = api.recalibrate(here, clinic, out=tmp_path / "twice", threshold="youden")
    # Those that chose before are not held to be seen.
    assert (twice.parent, twice.images) == (
        read_config(run_copy).name,
        60,
    )
    with pytest.raises(UsageError, match="none is left"):
        api.recalibrate(api.load(here).folder, clinic, out=tmp_path / "seen")
    moved = run_copy.rename(tmp_path / "moved")
    with pytest.raises(NotFoundError, match=r"parent\.txt"):
        api.load(here)
    (here / "parent.txt").write_text("../moved\n")
    assert api.load(here).config.name.endswith("-recalibrated")
    shutil.copyfile(here / "adapter.safetensors", moved / "model.safetensors")
    (here / "README.md").write_text("another card, so that it is joined anew")
    with pytest.raises(NotVerifiedError, match="is not the base"):
        api.load(here)
