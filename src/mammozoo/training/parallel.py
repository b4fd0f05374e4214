"""Several fits at once, each in a process of its own: of this machine (loky), of a dask cluster or of ray.

The result of a fit depends neither on its neighbours nor on the order in which they end. It does depend on the number of
threads, in the last bits: sums are added up in another order.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from mammozoo.errors import FailedError, UsageError
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.fit_spec import FitSpec
from mammozoo.training.fold import FailedFit, FitResult, try_fold
from mammozoo.training.holding import Pulse, die_with_parent
from mammozoo.training.prepare import PreparedRun
from mammozoo.training.run_directory import RunDirectory

BACKENDS = ("loky", "dask", "ray")

_LOOK = 0.5  # seconds between two looks at whether to stop
_GRACE = 20.0  # seconds that fits have to keep their state
_ONE = threading.Lock()  # torch's generator and threads are of the process; a dask worker may have several threads

Submit = Callable[..., Future[Any]]
End = Callable[[bool], None]


@dataclass(frozen=True)
class Jobs:
    """How many fits at once, and the engine that runs them (one of `BACKENDS`)."""

    count: int = 1
    backend: str = "loky"


ONE = Jobs()


def train_parallel(
    prepared: PreparedRun, missing: Sequence[FitSpec], run: RunDirectory, callbacks: Callbacks, jobs: Jobs
) -> dict[str, FitResult | FailedFit]:
    """Fits in their own processes; the epochs of a fit are reported when it is complete."""
    callbacks.progress.start(f"training, {jobs.count} at once", len(missing), "fits")
    results: dict[str, FitResult | FailedFit] = {}
    with contextlib.closing(Pulse(run.path)) as pulse:
        folder = run.path.absolute()  # a worker elsewhere may have another working directory
        tasks = [(prepared, spec, folder, Callbacks(stop=pulse.unwanted())) for spec in missing]

        def stop() -> bool:
            pulse.beat()
            if asked := callbacks.stop():
                pulse.close()
            return asked

        fits = run_parallel(try_fold, tasks, jobs.count, jobs.backend, prepared.engine.device, stop)
        with contextlib.closing(fits):
            for result in fits:
                if isinstance(result, FailedFit):
                    callbacks.progress.note(f"  {result.spec.name}: {result.reason}")
                else:
                    for row in result.history:
                        callbacks.on_epoch(row)
                    best = f"best {prepared.recipe.monitor} {result.monitor:.4f}"
                    callbacks.progress.note(f"  {result.spec.name}: {best}")
                callbacks.progress.advance()
                results[result.spec.name] = result
    callbacks.progress.clock.lap("fits")
    return results


def run_parallel(
    work: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int,
    backend: str,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Any, None, None]:
    """`work(*task)` of each task, `jobs` at a time, in the order in which they end.

    On GPUs each process has one, always the same; the threads are shared out.

    Args:
        device: of the tasks. A card that was chosen by number has them all; on the processor none is touched.
        backend: `loky` (processes of this machine), `dask` (of the cluster at DASK_SCHEDULER_ADDRESS, or a local one), `ray`.
        stop: asked twice a second. Once it returns True nothing new is begun, and work that does not end by itself is killed.

    Raises:
        UsageError: the backend's package is not installed.
        FailedError: a process was killed.
        Stopped: `stop` asked for it.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    submit, end = _engine(backend, jobs, threads, cards=device.type == "cuda")
    remaining: Iterator[tuple[int, tuple[Any, ...]]] = iter(enumerate(tasks))
    running, asked, over = set[Future[Any]](), float("inf"), False
    try:
        while True:
            for number, task in islice(remaining, jobs - len(running)):
                running.add(submit(_run_one, work, task, threads, number, device))
            if not running:
                break
            done, running = wait(running, _LOOK, FIRST_COMPLETED)
            if asked == float("inf") and stop():
                remaining, asked = iter(()), time.monotonic()
            for future in done:
                try:
                    yield future.result()
                except Stopped:
                    if asked == float("inf"):
                        raise FailedError(
                            "A fit in another process does not see the run's folder, or lost it."
                        ) from None
                except Exception as error:
                    raise getattr(error, "cause", None) or error from error.__cause__  # ray wraps what was raised
            if time.monotonic() - asked > _GRACE:
                break
        if asked < float("inf"):
            raise Stopped
        over = True
    except BrokenExecutor as error:
        raise FailedError("A process that trained a fit was killed, often for memory. Try fewer --jobs.") from error
    finally:
        end(over)


def _engine(backend: str, jobs: int, threads: int, cards: bool) -> tuple[Submit, End]:
    """How work is submitted, and how all of it ends: in peace (True), or because something went wrong."""
    try:
        return {"loky": _loky, "dask": _dask, "ray": _ray}[backend](jobs, threads, cards)
    except ImportError as error:
        package = {"dask": "distributed"}.get(backend, backend)
        raise UsageError(
            f"--jobs-by {backend} needs a package that is not installed ({error.name}). Run: pip install {package}"
        ) from None


def _loky(jobs: int, threads: int, cards: bool) -> tuple[Submit, End]:
    from joblib.executor import get_memmapping_executor  # large arrays are shared, not copied

    limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    executor = get_memmapping_executor(jobs, timeout=300, initializer=_begin, env=limits, context_id="mammozoo")
    return executor.submit, lambda over: None if over else executor.terminate(kill_workers=True)


def _dask(jobs: int, threads: int, cards: bool) -> tuple[Submit, End]:
    from distributed import Client

    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    local = {} if address else {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    client = Client(address, **local)
    executor = client.get_executor(pure=False)

    def end(over: bool) -> None:
        executor.shutdown(wait=over)  # cancels what has not ended
        client.close()

    return executor.submit, end


def _ray(jobs: int, threads: int, cards: bool) -> tuple[Submit, End]:
    import ray

    ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
    remote = ray.remote(num_cpus=threads, num_gpus=int(cards))(_run_one)
    begun: list[Any] = []

    def submit(run: object, *given: Any) -> Future[Any]:
        begun.append(remote.remote(*given))
        future: Future[Any] = begun[-1].future()
        return future

    def end(over: bool) -> None:
        for one in [] if over else begun:
            ray.cancel(one, force=True)
        ray.shutdown()

    return submit, end


def _begin() -> None:
    """A process ends with its parent and by nobody else: a signal to the whole group must not break fits that keep their state."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


def _run_one(work: Callable[..., Any], task: tuple[Any, ...], threads: int, number: int, device: torch.device) -> Any:
    with _ONE:
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
