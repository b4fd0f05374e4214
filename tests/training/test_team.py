"""Several processes at one fit, forked from this one: odd batches, and fewer images than processes."""

import functools
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from mammozoo.errors import ConflictError, UsageError
from mammozoo.files import read_table
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.distributed import DistContext, current_context
from mammozoo.training.experiment import train

from ..helpers import forked, tiny


def team(size: int, folder: Path, /, **fields: object) -> list[str]:
    """Trains in `size` processes; what each of them raised, in the order of their ranks, or an empty text."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def member(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        train(tiny(**fields), folder)

    return forked(*(functools.partial(member, rank) for rank in range(size)))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_process_takes_part_in_every_step(size: int) -> None:
    """Whatever number of images there is, no image is taken twice, and at most fewer than there are processes wait."""
    batch = 3 * size
    for images in range(size, 40):
        order = np.random.default_rng(images).permutation(images)
        shares = [DistContext(rank, size).shard(order, batch) for rank in range(size)]
        assert len({-(-len(share) // 3) for share in shares}) == 1, "as many steps in each"
        taken = np.concatenate(shares)
        assert len(set(taken.tolist())) == len(taken) > images - size


def test_more_processes_than_images_to_validate_on(tiny_run, tmp_path) -> None:
    """Every image is scored once, also where a process has none; before, that process failed and the others hung on it."""
    said = team(4, tmp_path / "run", batch=8, dataset="phantom:n=29", **{"split.val": 0.1, "split.test": 0.3})
    assert said == [""] * 4
    rows = read_table(tmp_path / "run" / "predictions.csv")
    names = [row["sample"] for row in rows]
    assert len(set(names)) == len(names) == 29
    assert len([row for row in rows if row["part"] == "val"]) == 3


def test_one_image_alone_in_a_batch_norm(tiny_run, tmp_path) -> None:
    """Of a network whose last map is one pixel; before, that was a bug of ours, with torch's words."""
    fields = {"batch": 6, "size": 32, "strategy": "full", "split.val": 0.3, "split.test": 0.37}
    said = team(3, tmp_path / "run", dataset="phantom:n=30", **fields)
    assert any("UsageError" in text and "another --batch or --gpus" in text for text in said), said


def test_fewer_images_than_processes(tiny_run, tmp_path) -> None:
    said = team(4, tmp_path / "run", batch=4, dataset="phantom:n=11", **{"split.val": 0.4, "split.test": 0.4})
    assert all("UsageError" in text and "3 images" in text for text in said), said
    assert not (tmp_path / "run").exists()


def test_a_team_that_the_launcher_starts_again_goes_on(tmp_path, monkeypatch) -> None:
    """As `torchrun --max-restarts` does, once one of them has failed; the tests of a cluster kill one for real."""
    recipe, asked = tiny(epochs=2, batch=8), iter(range(100))
    train(recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "run", stop=lambda: next(asked) > 2)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    with pytest.raises(ConflictError, match="not empty"):
        train(recipe, tmp_path / "run")
    with pytest.raises(UsageError, match="--out"):
        train(recipe)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    run = train(recipe, tmp_path / "run")
    assert len(run.facts["resumed"]) == 1
    for name in ("predictions.csv", "model.safetensors"):
        assert (run.path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("by", [{"SLURM_STEP_NUM_TASKS": "2"}, {"SLURM_NTASKS": "2"}, {"OMPI_COMM_WORLD_SIZE": "2"}])
def test_of_several_processes_without_a_launcher_none_trains_the_whole(command, monkeypatch, by, tmp_path) -> None:
    for name, value in by.items():
        monkeypatch.setenv(name, value)
    words = ("train", "--dataset", "phantom:n=24", "--backbone", "test_resnet", "--out", "run")
    for more in ([], ["--gpus", "2", "--device", "cpu"], ["--fit", 0], ["--jobs", "2"]):
        command(*words, *more).refused(2, next(iter(by)), "torchrun")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")  # of a job of several tasks, one step of one
    assert current_context().is_single
