"""Several fits at once, each in a process of its own: of this machine (loky), of a dask cluster or of ray.

The result of a fit depends neither on its neighbours nor on the order in which they end. It does depend on the number of
threads, in the last bits: sums are added up in another order.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from mammozoo.errors import FailedError
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.engines import BACKENDS as BACKENDS
from mammozoo.training.engines import LostError, lost, start_engine
from mammozoo.training.fit_spec import FitSpec
from mammozoo.training.fold import FailedFit, FitResult, try_fold
from mammozoo.training.history import log_epoch
from mammozoo.training.holding import Pulse
from mammozoo.training.prepare import PreparedRun
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.telling import Listener, Teller
from mammozoo.training.workers import Ask, check_workers

log = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks at whether to stop
_GRACE = 20.0  # seconds that fits have to keep their state
_ONE = threading.Lock()  # torch's generator and threads are of the process; a dask worker may have several threads


@dataclass(frozen=True)
class Jobs:
    """How many fits at once, and the engine that runs them (one of `BACKENDS`)."""

    count: int = 1
    backend: str = "loky"


ONE = Jobs()


def train_parallel(
    prepared: PreparedRun, missing: Sequence[FitSpec], run: RunDirectory, callbacks: Callbacks, jobs: Jobs
) -> dict[str, FitResult | FailedFit]:
    """Fits in their own processes, whose epochs are reported as they come."""
    progress, specs = callbacks.progress, {spec.name: spec for spec in missing}
    progress.start(f"training, {jobs.count} at once", len(missing), "fits")
    results: dict[str, FitResult | FailedFit] = {}
    folder = run.path.absolute()  # a worker elsewhere may have another working directory
    with (
        contextlib.closing(Pulse(run.path / run.part)) as pulse,
        contextlib.closing(Listener(folder, specs)) as listener,
    ):
        unwanted = pulse.unwanted()
        tasks = [
            (prepared.of(spec.recipe), spec, folder, Callbacks(on_epoch=Teller(folder / spec.name), stop=unwanted))
            for spec in missing
        ]

        def hear() -> None:
            for name, worker, row in listener.news():
                log_epoch(name, row, prepared.recipe.monitor)
                progress.fit(name, row, sum(phase.epochs for phase in specs[name].recipe.all_phases()), worker)
                callbacks.on_epoch(row)

        def stop() -> bool:
            pulse.beat()
            hear()
            if asked := callbacks.stop():
                pulse.close()
            return asked

        def meet(ask: Ask) -> None:
            check_workers(ask, prepared.recipe, pulse.path, pulse.token, progress.note)

        fits = run_parallel(try_fold, tasks, jobs.count, jobs.backend, prepared.engine.device, stop, meet)
        with contextlib.closing(fits):
            for result in _with_way(fits, "the same command" if run.part else f"mammozoo train --resume {run.path}"):
                hear()
                name = result.spec.name
                if isinstance(result, FailedFit):
                    said = result.reason
                else:
                    for row in result.history:
                        if row.epoch > listener.last[name]:  # which could not be told
                            callbacks.on_epoch(row)
                    said = f"best {prepared.recipe.monitor} {result.monitor:.4f}"
                progress.fit_ended(name)
                progress.note(f"  {name}: {said}")
                log.info("%s: %s", name, said)
                progress.advance()
                results[name] = result
    progress.clock.lap("fits")
    return results


def run_parallel(
    work: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int,
    backend: str,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
    meet: Callable[[Ask], object] = lambda ask: None,
) -> Generator[Any, None, None]:
    """`work(*task)` of each task, `jobs` at a time, in the order in which they end.

    On GPUs each process has one, always the same; the threads are shared out.

    Args:
        device: of the tasks. A card that was chosen by number has them all; on the processor none is touched.
        backend: `loky` (processes of this machine), `dask` (of the cluster at DASK_SCHEDULER_ADDRESS, or a local one), `ray`.
        stop: asked twice a second. Once it returns True nothing new is begun, and work that does not end by itself is killed.
        meet: gets the workers of a cluster before anything is begun there.

    Raises:
        UsageError: the backend's package is not installed.
        UnreachableError: no scheduler answers.
        FailedError: a process was killed.
        Stopped: `stop` asked for it.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    engine = start_engine(backend, jobs, threads, cards=device.type == "cuda")
    remaining: Iterator[tuple[int, tuple[Any, ...]]] = iter(enumerate(tasks))
    running, asked, over = set[Future[Any]](), float("inf"), False
    try:
        if engine.ask is not None:
            meet(engine.ask)
        while True:
            for number, task in islice(remaining, jobs - len(running)):
                running.add(engine.submit(_run_one, work, task, threads, number, device))
            if not running:
                break
            done, running = wait(running, _LOOK, FIRST_COMPLETED)
            engine.check()
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
                except (CancelledError, BrokenExecutor):
                    raise
                except Exception as error:
                    if (cause := getattr(error, "cause", None)) is not None:  # ray wraps what was raised
                        raise cause from error.__cause__
                    if type(error).__module__.partition(".")[0] in ("distributed", "ray"):
                        raise lost(error) from error
                    raise
            if time.monotonic() - asked > _GRACE:
                break
        if asked < float("inf"):
            raise Stopped
        over = True
    except (CancelledError, BrokenExecutor, LostError) as error:
        if asked < float("inf") or stop():  # a signal that was sent to all has ended the engine too
            raise Stopped from None
        if isinstance(error, LostError):
            raise
        raise lost(error) from error
    finally:
        engine.end(over)


def _with_way(fits: Iterator[Any], way: str) -> Iterator[Any]:
    try:
        yield from fits
    except LostError as error:
        raise FailedError(f"{error} Continue with: {way}") from error


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
