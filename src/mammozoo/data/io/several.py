"""Many images read at once, in order and not far ahead: in threads, or on Linux in processes.

Large images are read one at a time: a few of them would fill the memory.

Python's lock lets a few threads read images at a time, and more of them hinder each other: on 16 cores four threads read
2.6 times as fast as one, and eight more slowly than four. Two cores start processes for many images only.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import chain, islice
from operator import length_hint
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST_THREADS, _MOST_PROCESSES = 4, 16
_FEWEST = 64  # images for which processes are started on four cores and more
_MANY = 1000  # images for which two cores do
_CHUNK = 8  # images that a process reads for one answer
_PATIENCE = 60.0  # seconds after which a large image is read although another one is: its process may have been killed
_read: Callable[[Any], Any]  # in a process that reads
_turn: Any = threading.Lock()  # of large images; in a process that reads, the one that all such processes share
_reader = threading.local()


def take_turn() -> None:
    """Called by a `read` that meets a large image: it goes on when no other one holds a turn, and holds it to its end."""
    if getattr(_reader, "busy", False) and not _reader.has_turn:
        _reader.has_turn = _turn.acquire(timeout=_PATIENCE)


def _to_its_end(read: Callable[[T], R], item: T) -> R:
    _reader.busy, _reader.has_turn = True, False
    try:
        return read(item)
    finally:
        _reader.busy = False
        if _reader.has_turn:
            _turn.release()


def read_many(
    read: Callable[[T], R], items: Iterable[T], *, apart: bool = True, processes: int | None = None
) -> Generator[R, None, None]:
    """`read(item)` of every item, in order; a few dozen are read before they are asked for.

    An exception comes when its item is asked for, raised by `read` in this process.

    Args:
        apart: whether `read` may run in processes that are forked from this one: it keeps no open file, and changes nothing.
        processes: how many; by default what pays on this machine. 0 takes threads.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    remaining = iter(items)
    head = list(islice(remaining, _FEWEST))
    if processes is None:
        pays = apart and sys.platform == "linux" and len(head) == _FEWEST
        pays = pays and (cores >= 4 or (cores > 1 and length_hint(items) >= _MANY))
        pays = pays and not multiprocessing.current_process().daemon  # those may have no children
        processes = min(cores, _MOST_PROCESSES) if pays else 0
    everything = chain(head, remaining)
    return _in_processes(read, everything, processes) if processes else _in_threads(read, everything, cores)


def _in_threads(read: Callable[[T], R], items: Iterator[T], cores: int) -> Generator[R, None, None]:
    pool = ThreadPoolExecutor(min(_MOST_THREADS, cores))
    try:
        waiting = deque(pool.submit(_to_its_end, read, item) for item in islice(items, _FEWEST))
        while waiting:
            waiting.extend(pool.submit(_to_its_end, read, item) for item in islice(items, 1))
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _in_processes(read: Callable[[T], R], items: Iterator[T], processes: int) -> Generator[R, None, None]:
    # What `read` holds need not be pickled, and nothing is imported again.
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(read, context.Lock()))
    waiting: deque[tuple[list[T], Future[list[tuple[bool, Any]]]]] = deque()
    try:
        while True:
            while len(waiting) < 2 * processes and (chunk := list(islice(items, _CHUNK))):
                waiting.append((chunk, _submitted(pool, chunk)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            try:
                answers = future.result()
            except Exception:  # a process was killed, or an answer cannot be sent
                answers = [(False, None)] * len(chunk)
            for item, (done, answer) in zip(chunk, answers, strict=True):
                yield answer if done else read(item)
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, chunk: list[Any]) -> Future[list[tuple[bool, Any]]]:
    try:
        return pool.submit(_read_chunk, chunk)
    except BrokenExecutor as error:  # since a process was killed
        failed: Future[list[tuple[bool, Any]]] = Future()
        failed.set_exception(error)
        return failed


def _begin(read: Callable[[Any], Any], turn: Any) -> None:
    global _read, _turn
    _read, _turn = read, turn
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)  # OpenCV's threads do not live on in a forked process
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _read_chunk(items: list[Any]) -> list[tuple[bool, Any]]:
    """(whether it was read, the result) of each item; the parent reads again what failed, for its exception."""
    answers: list[tuple[bool, Any]] = []
    for item in items:
        try:
            answers.append((True, _to_its_end(_read, item)))
        except Exception:
            answers.append((False, None))
    return answers
