"""Several fits at once, each in a process of its own, through joblib: on this machine, on dask or on ray.

The result of a fit depends neither on its neighbours nor on the order in which they end. It does depend on the number of
threads, in the last bits: sums are added up in another order.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib
import torch

from mammozoo.errors import UsageError

BACKENDS = ("loky", "dask", "ray")


def run_parallel(
    work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], jobs: int, backend: str, device: torch.device
) -> Iterator[Any]:
    """`work(*task)` of each task, `jobs` at a time, in the order in which they end.

    On GPUs each process has one, always the same; the threads are shared out.

    Args:
        device: of the tasks. A card that was chosen by number has them all; on the processor none is touched.
        backend: `loky` (processes of this machine), `dask` (of the cluster at DASK_SCHEDULER_ADDRESS, or a local one), `ray`.

    Raises:
        UsageError: the backend's package is not installed.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    prepared = (joblib.delayed(_run_one)(work, task, threads, number, device) for number, task in enumerate(tasks))
    with _backend(backend, threads):
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(prepared)


def _backend(backend: str, threads: int) -> Any:
    try:
        if backend == "dask":
            from distributed import Client

            address = os.environ.get("DASK_SCHEDULER_ADDRESS")
            local = {} if address else {"processes": True, "threads_per_worker": 1, "dashboard_address": None}
            Client(address, **local)  # type: ignore[no-untyped-call]
            return joblib.parallel_config("dask")
        if backend == "ray":
            from ray.util.joblib import register_ray

            register_ray()
            return joblib.parallel_config("ray")
    except ImportError as error:
        package = {"dask": "distributed"}.get(backend, backend)
        raise UsageError(
            f"--jobs-by {backend} needs a package that is not installed ({error.name}). Run: pip install {package}"
        ) from None
    return joblib.parallel_config("loky", inner_max_num_threads=threads)


def _run_one(work: Callable[..., Any], task: tuple[Any, ...], threads: int, number: int, device: torch.device) -> Any:
    torch.set_num_threads(threads)
    if device.type == "cuda" and device.index is None:
        torch.cuda.set_device(card_of(number, torch.cuda.device_count()))
    return work(*task)


def card_of(task: int, cards: int) -> int:
    """The card of this process: by its number, where joblib has numbered it, so that two workers do not meet on one card.

    A task's own number would move a process from card to card, and leave some memory taken on each.
    """
    _, _, worker = multiprocessing.current_process().name.rpartition("-")
    return (int(worker) - 1 if worker.isdigit() else task) % cards
