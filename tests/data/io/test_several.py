"""Many images at once: the order, what is read ahead, exceptions, processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mammozoo.data.io import several
from mammozoo.data.io.several import read_many, take_turn
from mammozoo.errors import FailedError

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on forks beside threads
WAYS = [
    0,
    pytest.param(2, marks=pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")),
]


@pytest.mark.parametrize("processes", WAYS)
@pytest.mark.parametrize("n", [0, 1, 8, 200])
def test_the_order_is_kept(processes: int, n: int) -> None:
    def read(number: int) -> tuple[int, int]:
        time.sleep(0.005 * (number % 7 == 0))
        return number, os.getpid()

    answers = list(read_many(read, iter(range(n)), processes=processes))
    assert [number for number, _ in answers] == list(range(n))
    assert (os.getpid() in {process for _, process in answers}) == (processes == 0 and n > 0)


@pytest.mark.parametrize("processes", WAYS)
def test_no_more_is_taken_than_is_read_soon(processes: int) -> None:
    """So memory does not grow with the number of images, and a caller who stops does not wait for the rest."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    answers = read_many(abs, items(), processes=processes)
    assert next(answers) == 0
    answers.close()
    assert len(taken) <= 130
    assert threading.active_count() < 5


@pytest.mark.parametrize("processes", WAYS)
def test_an_exception_comes_at_its_place_as_it_was_raised(processes: int) -> None:
    class OwnError(FailedError):
        """Not to be pickled."""

    def read(number: int) -> int:
        if number == 70:
            raise OwnError(f"no {number}")
        return number

    answers = read_many(read, range(100), processes=processes)
    for expected in range(70):
        assert next(answers) == expected
    with pytest.raises(OwnError, match="no 70"):
        next(answers)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_a_killed_process_costs_nothing(tmp_path: Path) -> None:
    once, parent = tmp_path / "once", os.getpid()

    def read(number: int) -> int:
        if number == 50 and os.getpid() != parent and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -number

    assert list(read_many(read, range(300), processes=2)) == [-number for number in range(300)]
    assert once.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_what_cannot_be_sent_is_read_here() -> None:
    answers = list(read_many(lambda number: lambda: number, range(20), processes=2))
    assert [answer() for answer in answers] == list(range(20))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.parametrize(
    "cores, n, apart, daemon, there",
    [
        (8, 64, True, False, True),
        (2, 1000, True, False, True),
        (2, 999, True, False, False),
        (1, 1000, True, False, False),
        (8, 63, True, False, False),
        (8, 64, False, False, False),
        (8, 64, True, True, False),
    ],
)
def test_processes_where_they_pay(cores: int, n: int, apart: bool, daemon: bool, there: bool, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.setattr(several.multiprocessing, "current_process", lambda: SimpleNamespace(daemon=daemon))
    monkeypatch.setattr(several, "_MOST_PROCESSES", 2)
    readers = set(read_many(lambda number: os.getpid(), range(n), apart=apart))
    assert (os.getpid() not in readers) == there


@pytest.mark.parametrize("processes", WAYS)
@pytest.mark.parametrize("large", [True, False])
def test_large_images_are_read_one_at_a_time(processes: int, large: bool, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    both = multiprocessing.get_context("fork").Barrier(2) if processes else threading.Barrier(2)

    def read(number: int) -> str:
        if large:
            take_turn()
        if number % 8:  # a process takes eight
            return ""
        try:
            both.wait(0.2 if large else 5)
        except threading.BrokenBarrierError:
            return "alone"
        return "together"

    answers = set(filter(None, read_many(read, [0, 8] if not processes else range(16), processes=processes)))
    assert answers == {"alone" if large else "together"}
