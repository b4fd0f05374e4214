"""One fit: it starts from the prepared network, leaves it as it was, and is read back as it was returned."""

import dataclasses
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mammozoo.cli.output import _Bars
from mammozoo.models.backbone import Backbone
from mammozoo.progress import Progress
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.experiment import train
from mammozoo.training.fit_spec import fit_specs
from mammozoo.training.fold import FitResult, read_result, train_fold
from mammozoo.training.history import EpochRow
from mammozoo.training.parallel import Jobs, card_of, run_parallel
from mammozoo.training.prepare import PreparedRun, prepare
from mammozoo.training.telling import EPOCHS, Listener, Teller

from ..helpers import tiny


@pytest.fixture
def prepared() -> PreparedRun:
    """Two folds, in which everything learns and dropout draws numbers."""
    return prepare(tiny(strategy="full", head="gap:dropout=0.3", **{"split.folds": 2}))


def fit(prepared: PreparedRun, number: int, run: Path) -> FitResult:
    result = train_fold(prepared, fit_specs(prepared)[number], run, Callbacks())
    assert result is not None
    return result


def test_fits_share_no_weights(prepared: PreparedRun, tmp_path) -> None:
    """A fold has the bytes that it has alone, whatever was trained before it."""
    backbone = {name: tensor.clone() for name, tensor in prepared.backbone.state_dict().items()}
    start = prepared.build()[0].state_dict()
    fit(prepared, 0, tmp_path / "both")
    trained = load_file(tmp_path / "both" / "fold-0" / "model.safetensors")
    names = [name for name, _ in prepared.backbone.named_parameters()]
    assert not all(torch.equal(trained[f"backbone.{name}"], backbone[name]) for name in names)
    assert all(torch.equal(tensor, backbone[name]) for name, tensor in prepared.backbone.state_dict().items())
    assert all(torch.equal(tensor, start[name]) for name, tensor in prepared.build()[0].state_dict().items())
    fit(prepared, 1, tmp_path / "both")
    fit(prepare(prepared.recipe), 1, tmp_path / "alone")
    for name in ("model.safetensors", "predictions.csv", "config.json"):
        assert (tmp_path / "both" / "fold-1" / name).read_bytes() == (tmp_path / "alone" / "fold-1" / name).read_bytes()


def test_a_complete_fit_is_read_back_as_it_was_returned(prepared: PreparedRun, tmp_path) -> None:
    result = fit(prepared, 0, tmp_path)
    again = read_result(tmp_path, result.spec)
    assert (again.spec, again.config, again.monitor) == (result.spec, result.config, result.monitor)
    assert again.rows == [{column: str(value) for column, value in row.items()} for row in result.rows]
    (tmp_path / "fold-0" / "predictions.csv").unlink()
    assert read_result(tmp_path, result.spec) is None, "the file that is written last is missing"


def test_flipped_test_labels_keep_the_model_byte_by_byte(prepared: PreparedRun, tmp_path) -> None:
    """And so do other pixels in the test part: nothing of it reaches weights, temperature, thresholds, band or profile."""
    fit(prepared, 0, tmp_path / "before")
    test = prepared.splits[0].test
    labels, pixels = prepared.data.labels.copy(), prepared.data.images.pixels.copy()
    labels[test], pixels[test] = 1 - labels[test], 255 - pixels[test]
    images = dataclasses.replace(prepared.data.images, pixels=pixels)
    data = dataclasses.replace(prepared.data, labels=labels, images=images)
    fit(dataclasses.replace(prepared, data=data), 0, tmp_path / "after")
    before, after = (tmp_path / name / "fold-0" for name in ("before", "after"))
    for name in ("config.json", "model.safetensors"):
        assert (before / name).read_bytes() == (after / name).read_bytes(), name
    assert (before / "predictions.csv").read_bytes() != (after / "predictions.csv").read_bytes()


# ---------------------------------------------------------------- a run from its recipe to its end


def test_the_network_is_built_once_however_many_folds(tmp_path, monkeypatch) -> None:
    """Counted where every backbone begins, so that it does not matter who builds it. A copy does not begin anew."""
    built: list[str] = []
    begin = Backbone.__init__

    def count(backbone: Backbone, *args: Any, **options: Any) -> None:
        built.append(type(backbone).__name__)
        begin(backbone, *args, **options)

    monkeypatch.setattr(Backbone, "__init__", count)
    recipe = tiny(strategy="frozen", **{"split.folds": 3})
    assert train(recipe, tmp_path / "run").facts["status"] == "done"
    assert len(built) == 1


# ---------------------------------------------------------------- several fits at once


def test_fits_at_once_give_the_same_run(tmp_path) -> None:
    """Two folds behind an earlier stage each, which another process has trained."""
    recipe = tiny(strategy="full", stages=[{"name": "same", "val": 0.3}], **{"split.folds": 2})
    one = train(recipe, tmp_path / "one")
    seen = Seen()
    two = train(recipe, tmp_path / "two", seen, jobs=Jobs(2))
    for folder in (".", "fold-0", "fold-1", "fold-0/stages/same", "fold-1/stages/same"):
        for name in ("model.safetensors", "config.json", "predictions.csv"):
            file = f"{folder}/{name}"
            assert (one.path / file).read_bytes() == (two.path / file).read_bytes(), file
    for name in ("scores.json", "splits.json"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes(), name
    fits = ["fold-0", "fold-0/stages/same", "fold-1", "fold-1/stages/same"]
    assert sorted(seen.told) == [(name, 1, 1) for name in fits], "each epoch once, told by its process"
    log = (two.path / "log.txt").read_text()
    assert all(f"{name} epoch 1: train loss" in log for name in fits)
    assert not list(two.path.rglob(EPOCHS))


class Seen(Progress):
    """What is told of fits at once."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def fit(self, name: str, row: EpochRow, epochs: int, worker: str) -> None:
        assert worker.partition(":")[2] != str(os.getpid())
        self.told.append((name, row.epoch, epochs))


def test_epochs_are_heard_while_a_fit_trains(tmp_path) -> None:
    """Each once, the last one when its line is whole; on a terminal in a row of the fit."""
    rows = [EpochRow("fold-0", epoch, 1, 1e-3, 0.7, 0.6, float("nan"), True, 1.0, 10.0) for epoch in (1, 2, 3)]
    (tmp_path / "fold-0").mkdir()
    (tmp_path / "fold-0" / EPOCHS).write_text("of a run that was killed\n")
    listener, tell = Listener(tmp_path, ["fold-0", "fold-1"]), Teller(tmp_path / "fold-0")
    Teller(tmp_path / "gone")(rows[0])
    assert not list(listener.news()) and not (tmp_path / "gone").exists()
    shown = _Bars()
    try:
        for row in rows[:2]:
            tell(row)
            ((name, worker, heard),) = listener.news()
            shown.fit(name, heard, 3, worker)
        with (tmp_path / "fold-0" / EPOCHS).open("a") as file:
            file.write('["half of a li')
        assert (name, heard.epoch, listener.last) == ("fold-0", 2, {"fold-0": 2, "fold-1": 0})
        assert not list(listener.news())
        (bar,) = [task for task in shown.bars.tasks if task.description == "fold-0"]
        assert (bar.completed, bar.total) == (2, 3) and "0.6000" in bar.fields["rate"] and worker in bar.fields["rate"]
        shown.fit_ended("fold-0")
        assert len(shown.bars.tasks) == 1
    finally:
        shown.stop()
    listener.close()
    assert not list(tmp_path.rglob(EPOCHS))


def test_each_process_has_one_card() -> None:
    """The first task takes long: by the tasks' numbers its card would get a second one meanwhile, and the other none."""
    done = list(run_parallel(_two_cards, [(number,) for number in range(6)], 2, "loky", torch.device("cpu")))
    cards = {worker: {card for other, card in done if other == worker} for worker, _ in done}
    assert sorted(map(sorted, cards.values())) == [[0], [1]]


def _two_cards(number: int) -> tuple[str, int]:
    time.sleep(0.1 if number else 1)
    return multiprocessing.current_process().name, card_of(number, 2)


@pytest.mark.parametrize("strategy", ["full", "frozen"])
def test_progress_is_told_while_the_parts_of_a_fit_are_predicted(tmp_path, strategy: str) -> None:
    """After the last epoch too; with many images that takes as long as an epoch."""

    class Told(Progress):
        def __init__(self) -> None:
            self.work: list[list[Any]] = []

        def start(self, what: str, total: int, unit: str = "images") -> None:
            self.work.append([what, total, 0])

        def advance(self, images: int = 1) -> None:
            self.work[-1][2] += images

    told = Told()
    train(tiny(strategy=strategy, batch=4), tmp_path / "run", told)
    assert ["predicting", 24, 24] in told.work
