"""Several processes at one fit, forked from this one: odd batches, and fewer images than processes."""

import multiprocessing
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from mammozoo.files import read_table
from mammozoo.training.distributed import DistContext
from mammozoo.training.experiment import train

from ..helpers import tiny


def team(size: int, folder: Path, **fields: object) -> list[str]:
    """Trains in `size` processes; what each of them raised, in the order of their ranks, or an empty text."""
    context = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    raised = context.SimpleQueue()

    def member(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        try:
            train(tiny(**fields), folder)
            raised.put((rank, ""))
        except BaseException as error:
            raised.put((rank, f"{type(error).__name__}: {error}"))

    members = [context.Process(target=member, args=(rank,), daemon=True) for rank in range(size)]
    for one in members:
        one.start()
    for one in members:
        one.join(30)
        assert not one.is_alive(), "a process waits for ever"
    return [text for _, text in sorted(raised.get() for _ in members)]


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


def test_fewer_images_than_processes(tiny_run, tmp_path) -> None:
    said = team(4, tmp_path / "run", batch=4, dataset="phantom:n=11", **{"split.val": 0.4, "split.test": 0.4})
    assert all("UsageError" in text and "3 images" in text for text in said), said
    assert not (tmp_path / "run").exists()
