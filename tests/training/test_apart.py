"""One fit a job: jobs that know nothing of each other begin a run, share its fits out, and leave what one process would."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mammozoo import files
from mammozoo.config.recipe import Recipe
from mammozoo.errors import ConflictError, IncompatibleError, NotFoundError
from mammozoo.models import device
from mammozoo.training import apart, holding
from mammozoo.training.apart import merge, merge_last, train_fits
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.experiment import resume, train
from mammozoo.training.holding import claim
from mammozoo.training.run_directory import RunDirectory

from ..builtin.trees.pictures import picture_folder
from ..helpers import forked, tiny

FORK = multiprocessing.get_context("fork")
FITS = [f"fold-{fold}/00{point}" for fold in range(2) for point in range(2)]


def recipe(**fields: Any) -> Recipe:
    """Two points on two folds, behind a stage that all fits share; dropout draws numbers."""
    own: dict[str, Any] = {"strategy": "full", "head": "gap:dropout=0.3", "epochs": 2, "batch": 8, "split.folds": 2}
    stage = {"name": "first", "dataset": "phantom:n=24,seed=7", "optimizer": {"name": "sgd", "lr": 1e-2}}
    return tiny(**own | {"grid": {"optimizer.lr": [1e-3, 1e-2]}, "stages": [stage]} | fields)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return train(recipe(), tmp_path_factory.mktemp("whole") / "run").path


def outputs(run: Path) -> dict[str, bytes]:
    """What must not depend on who trained what."""
    names = (
        "predictions.csv",
        "scores.json",
        "splits.json",
        "attempts.csv",
        "model.safetensors",
        "config.json",
        "key.json",
    )
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.name in names}


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "a disk without locks"])
def test_jobs_that_begin_at_once_give_the_run_of_one_process(whole: Path, tmp_path, monkeypatch, locks: bool) -> None:
    if not locks:
        monkeypatch.setattr(files, "fcntl", None)
    """Of those that end last and find all fits there one merges; without locks somebody does so by hand."""
    run = tmp_path / "run"

    def job(name: str) -> None:
        _, ended = train_fits(recipe(), name, run)
        all_trained.wait(200)  # so that each finds all fits there
        if locks and merge_last(run, dict.fromkeys(ended, True)):
            (tmp_path / name.replace("/", "-")).touch()

    all_trained = FORK.Barrier(4)
    assert forked(*(lambda name=name: job(name) for name in ("3", FITS[1], "0", "2"))) == [""] * 4
    trained = [log for log in run.rglob("log.txt") if "first epoch 2" in log.read_text()]
    assert len(trained) == 1, "one trained the stage, the others waited for it"
    assert (len(list(tmp_path.iterdir())) == 2) if locks else merge(run)
    assert RunDirectory.open(run).facts["status"] == "done"
    assert outputs(run) == outputs(whole)
    assert not [*run.rglob(".lock"), *run.rglob(".pulse"), *run.rglob("*.tmp")]


def test_a_job_that_was_stopped_goes_on_and_fits_are_missed_until_all_have_ended(whole: Path, tmp_path) -> None:
    run, asked = tmp_path / "run", iter(range(100))
    with pytest.raises(Stopped):
        train_fits(recipe(), "fold-1", run, stop=lambda: next(asked) > 8)
    assert list(run.rglob("last.safetensors"))
    assert RunDirectory.open(run).facts["status"] == "running", "the others go on"
    train_fits(recipe(), "fold-1", run)
    with pytest.raises(NotFoundError, match=r"2 of 4 fits are missing.*fold-0/000, fold-0/001"):
        merge(run)
    _, ended = train_fits(recipe(), FITS[0], run)
    assert [name for name, result in ended.items() if result is None] == [FITS[1]]
    assert outputs(resume(run).path) == outputs(whole), "or one process trains what is missing"
    with pytest.raises(ConflictError, match="complete"):
        merge(run)
    with pytest.raises(ConflictError, match="complete"):
        train_fits(recipe(), "0", run)


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "a disk without locks"])
def test_a_fit_is_of_one_process_until_it_ends_however_it_ends(tmp_path, monkeypatch, locks: bool) -> None:
    if not locks:
        monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(holding, "_BEAT", 0.05)
    monkeypatch.setattr(holding, "_SILENCE", 0.5)
    claimed, end = FORK.Event(), FORK.Event()

    def work() -> None:
        with claim(tmp_path):
            claimed.set()
            end.wait(30)

    worker = FORK.Process(target=work, daemon=True)
    worker.start()
    assert claimed.wait(30)
    with pytest.raises(ConflictError, match=r"(?i)another process"), claim(tmp_path):
        pass
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    with claim(tmp_path) as lost:
        assert not lost()
    assert not (tmp_path / ".pulse").exists()


def test_of_two_that_take_over_without_locks_one_ends(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(holding, "_EVERY", 0.0)
    monkeypatch.setattr(holding, "_SILENCE", 0.0)  # neither sees that the other one is there
    (tmp_path / ".pulse").write_text("of a process that was killed")
    with claim(tmp_path) as first, claim(tmp_path) as second:
        assert first() and not second()
    assert not (tmp_path / ".pulse").exists()


def test_what_is_under_way_is_left_alone(tmp_path) -> None:
    """A fit, by other fits and by the whole; the whole, by fits."""
    one = recipe(stages=[], grid={}, epochs=1)
    run = tmp_path / "run"
    train_fits(one, "1", run)
    part = RunDirectory.join(run, "fold-0")
    with claim(run / "fold-0"):
        for other in (lambda: train_fits(one, "0", run), lambda: merge(run), lambda: resume(run)):
            with pytest.raises(ConflictError, match=r"(?i)another process"):
                other()
    part.release()
    held = RunDirectory.open(run)
    held.hold()
    with pytest.raises(ConflictError, match="Another process is training"):
        train_fits(one, "0", run)
    held.release()
    train_fits(one, "0", run)
    assert merge(run).facts["status"] == "done"


def test_fits_of_another_recipe_split_precision_or_place_do_not_join(tmp_path, monkeypatch) -> None:
    one, run = recipe(stages=[], grid={}, epochs=1), tmp_path / "run"
    monkeypatch.setattr(device, "has_bf16", lambda place: True)
    train_fits(one, "0", run)
    before = outputs(run)
    for other, key in (({"epochs": 2}, "epochs"), ({"split.seed": 5}, "split"), ({"grid": {"batch": [4, 8]}}, "grid")):
        with pytest.raises(IncompatibleError, match=key):
            train_fits(recipe(**{"stages": [], "grid": {}, "epochs": 1} | other), "1", run)
    for wrong in ("2", "fold-7", "fold-", "first"):
        with pytest.raises(NotFoundError, match="2, from number 0, 'fold-0'"):
            train_fits(one, wrong, run)
    monkeypatch.setattr(device, "has_bf16", lambda place: False)
    with pytest.raises(IncompatibleError, match="precision"):
        train_fits(one, "1", run)
    (run / "fold-0").rename(tmp_path / "fold-0")  # none has ended yet
    with pytest.raises(IncompatibleError, match="precision bf16 there and fp32 here"):
        train_fits(one, "1", run)
    (tmp_path / "fold-0").rename(run / "fold-0")
    monkeypatch.setattr(device, "has_bf16", lambda place: True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(ConflictError, match="not empty"):
        train_fits(one, "1", tmp_path / "other")
    assert outputs(run) == before
    train_fits(one, "1", run)
    monkeypatch.setattr(device, "has_bf16", lambda place: False)  # of a login node, say
    assert merge(run).facts["precision"] == "bf16"


def test_a_run_is_merged_where_its_data_are_now(tmp_path) -> None:
    data, run = picture_folder(tmp_path / "data", seed=0), tmp_path / "run"
    one = recipe(stages=[], grid={}, epochs=1, dataset="folder", root=str(data), **{"split.folds": 1})
    train_fits(one, "0", run)
    data.rename(tmp_path / "moved")
    with pytest.raises(NotFoundError, match="data"):
        merge(run)
    assert merge(run, root=tmp_path / "moved").facts["status"] == "done"


def test_a_run_whose_first_job_was_killed_as_it_began_is_begun_by_the_next(tmp_path, monkeypatch) -> None:
    one = recipe(stages=[], grid={}, epochs=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(apart, "write_facts", _interrupted)
        train_fits(one, "0", tmp_path / "run")
    for fit in ("0", "1"):
        train_fits(one, fit, tmp_path / "run")
    assert merge(tmp_path / "run").facts["images"] == 24


def test_what_another_process_writes_as_it_begins_the_run_is_nothing_foreign(tmp_path, monkeypatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".recipe.yaml.k2x9.tmp").touch()  # of a process that was killed as it wrote, or has not ended
    train_fits(recipe(stages=[], grid={}, epochs=1), "0", run)

    look = apart.refuse_occupied
    (tmp_path / "other").mkdir()

    def just_begun(path: Path) -> None:
        (path / "recipe.yaml").touch()
        look(path)

    monkeypatch.setattr(apart, "refuse_occupied", just_begun)
    apart._refuse_foreign(tmp_path / "other")


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
