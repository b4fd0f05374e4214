"""The engines that run fits in other processes: of this machine (loky), of a dask cluster or of ray."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from mammozoo.errors import FailedError, UnreachableError, UsageError
from mammozoo.training.holding import die_with_parent
from mammozoo.training.workers import Ask

BACKENDS = ("loky", "dask", "ray")

_WORKERS = 60.0  # seconds that a cluster may be without a worker
_SCHEDULER = 10.0  # seconds that the scheduler of ray may be silent
_PROBE = 2.0  # seconds between two looks at it


class LostError(FailedError):
    """A process that trained a fit, or the engine that runs them, is gone."""


Submit = Callable[..., Future[Any]]
End = Callable[[bool], None]


@dataclass(frozen=True)
class Engine:
    """How work is submitted, and how all of it ends: in peace (True), or because something went wrong.

    `ask` asks each worker elsewhere, `check` raises LostError once none of them is left.
    """

    submit: Submit
    end: End
    ask: Ask | None = None
    check: Callable[[], None] = lambda: None


def lost(error: BaseException) -> LostError:
    """The error to report for one of an engine."""
    first = str(error).strip().partition("\n")[0]
    return LostError(
        f"A process that trained a fit was killed, often for memory, or cannot be reached ({type(error).__name__}"
        f"{f': {first[:200]}' if first else ''}). Complete fits are kept, and the others keep their last epoch. Try fewer --jobs."
    )


def start_engine(backend: str, jobs: int, threads: int, cards: bool) -> Engine:
    """One of `BACKENDS` for `jobs` at once, with so many threads each, and a card if there are `cards`.

    Raises:
        UsageError: its package is not installed.
        UnreachableError: no scheduler answers, or ray does not start.
    """
    try:
        return {"loky": _loky, "dask": _dask, "ray": _ray}[backend](jobs, threads, cards)
    except ImportError as error:
        package = {"dask": "distributed"}.get(backend, backend)
        raise UsageError(
            f"--jobs-by {backend} needs a package that is not installed ({error.name}). Run: pip install {package}"
        ) from None


def _loky(jobs: int, threads: int, cards: bool) -> Engine:
    from joblib.executor import get_memmapping_executor  # large arrays are shared, not copied

    limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    executor = get_memmapping_executor(jobs, timeout=300, initializer=_begin, env=limits, context_id="mammozoo")
    return Engine(executor.submit, lambda over: None if over else executor.terminate(kill_workers=True))


def _dask(jobs: int, threads: int, cards: bool) -> Engine:
    from distributed import Client

    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}  # what a fit raises is raised here
    local = {} if address else {"n_workers": jobs, "threads_per_worker": 1, **quiet}
    try:
        with _no_interrupts():
            client = Client(address, **local)
    except OSError:
        raise UnreachableError(f"No Dask scheduler answers at '{address}' (DASK_SCHEDULER_ADDRESS).") from None
    with contextlib.suppress(TimeoutError):
        client.wait_for_workers(1, timeout=_WORKERS)
    executor = client.get_executor(pure=False)

    def ask(look: Callable[..., Any], *given: Any) -> dict[str, object]:
        return dict(client.run(look, *given, on_error="return"))

    def end(over: bool) -> None:
        executor.shutdown(wait=over)  # cancels what has not ended
        client.close()

    seen = [time.monotonic()]

    def check() -> None:
        if client.scheduler_info()["workers"]:
            seen[0] = time.monotonic()
        elif time.monotonic() - seen[0] > _WORKERS:
            raise lost(TimeoutError(f"no worker for {_WORKERS:.0f} seconds"))

    return Engine(executor.submit, end, ask, check)


def _ray(jobs: int, threads: int, cards: bool) -> Engine:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        context = ray.init(ignore_reinit_error=True, **quiet)
    except Exception as error:  # its own have no class in common
        address = os.environ.get("RAY_ADDRESS")
        where = (
            f"No Ray cluster answers at '{address}' (RAY_ADDRESS)" if address else "Ray does not start on this machine"
        )
        raise UnreachableError(f"{where}: {error}") from None
    with contextlib.suppress(ValueError):  # in a thread
        signal.signal(signal.SIGTERM, asked)  # ray's own handler would abort this process
    host, _, port = getattr(context, "address_info", {}).get("gcs_address", "").rpartition(":")  # none behind ray://
    # A second one would be sent to the scheduler.
    remote = functools.cache(ray.remote(num_cpus=threads, num_gpus=int(cards)))
    begun: list[Any] = []

    def ask(look: Callable[..., Any], *given: Any) -> dict[str, object]:
        one, answers = ray.remote(num_cpus=0)(look), dict[str, object]()
        for node in (node for node in ray.nodes() if node["Alive"]):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            try:
                answers[node["NodeManagerAddress"]] = ray.get(one.options(scheduling_strategy=there).remote(*given))
            except ray.exceptions.RayError as error:
                answers[node["NodeManagerAddress"]] = error
        return answers

    def submit(run: object, *given: Any) -> Future[Any]:
        begun.append(remote(run).remote(*given))
        future: Future[Any] = begun[-1].future()
        return future

    seen, gone = [time.monotonic()] * 2, list[bool]()  # when the scheduler answered, and when it was asked

    def check() -> None:
        now = time.monotonic()
        if port and now - seen[1] > _PROBE:
            seen[1] = now
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=_PROBE):
                seen[0] = now
            if now - seen[0] > _SCHEDULER:  # ray itself would end this process after a minute, without our word
                gone.append(True)
                raise lost(ConnectionError("the scheduler of ray does not answer"))

    def end(over: bool) -> None:
        if gone:  # both would wait for it
            return
        for one in [] if over else begun:
            ray.cancel(one, force=True)
        ray.shutdown()

    return Engine(submit, end, ask, check)


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Processes that begin meanwhile ignore Ctrl-C, which a terminal sends to all; so does this one, for some seconds."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # in a thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin() -> None:
    """A process ends with its parent and by nobody else: a signal to the whole group must not break fits that keep their state."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
