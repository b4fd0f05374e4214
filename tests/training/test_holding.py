"""Nobody writes into a run that another process holds: starts at once, live runs, signals and kills of fits at once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mammozoo.errors import ConflictError, FailedError
from mammozoo.training import holding, parallel
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.holding import Pulse
from mammozoo.training.parallel import run_parallel
from mammozoo.training.run_directory import RunDirectory

from ..helpers import tiny


def test_starts_in_one_minute_have_folders_of_their_own(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    begin = threading.Barrier(6)

    def start(_: int) -> RunDirectory:
        begin.wait()
        return RunDirectory.create(tiny(), None)

    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(start, range(6)))
    for run in runs:
        run.close("interrupted")
    assert len({run.path for run in runs}) == 6


def test_one_of_several_starts_gets_a_folder(tmp_path) -> None:
    begin = threading.Barrier(6)

    def start(_: int) -> RunDirectory | None:
        begin.wait()
        try:
            return RunDirectory.create(tiny(), tmp_path / "run")
        except ConflictError:
            return None

    with ThreadPoolExecutor(6) as pool:
        (run,) = [run for run in pool.map(start, range(6)) if run is not None]
    run.close("interrupted")


def test_a_live_run_is_not_resumed(command, tmp_path) -> None:
    run = RunDirectory.create(tiny(), tmp_path / "run")
    command("train", "--resume", "run").refused(9, "Another process is training")
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "running", "nothing was written"
    run.close("failed")
    assert command("train", "--resume", "run", "--no-report").code == 0
    command("train", "--resume", "run").refused(9, "complete")


def test_a_fit_elsewhere_is_unwanted_once_its_run_is_not_held(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(holding, "_EVERY", 0.0)
    first = Pulse(tmp_path)
    fit = first.unwanted()
    assert not fit()
    Pulse(tmp_path)  # another process has resumed the run
    assert fit()
    last = Pulse(tmp_path)
    silent, heard, closed = last.unwanted(), last.unwanted(), last.unwanted()
    assert not silent() and not heard() and not closed()
    for listener in (silent, heard):
        listener.silence += 100
    assert silent(), "the process that holds the run is gone"
    time.sleep(0.01)
    last.beat()
    assert not heard()
    last.close()
    assert closed() and not heard.path.exists()


def test_a_fit_that_was_stopped_with_its_holder_is_still_wanted(tmp_path, monkeypatch) -> None:
    """By Ctrl+Z, or with a computer that sleeps: whichever of the two wakes first."""
    monkeypatch.setattr(holding, "_EVERY", 0.0)
    pulse = Pulse(tmp_path)
    fit = pulse.unwanted()
    assert not fit()
    fit.asked -= 3600
    assert not fit(), "it has had no time to hear the next beat"
    for _ in range(10):
        fit.asked -= 8
        gone = fit()
    assert gone, "steps of many seconds do not hide that nobody holds the run"


FITS = [
    "--dataset", "phantom:n=40", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--no-report",
    "--strategy", "full", "--set", "size=48", "--set", "augment=[hflip]", "--folds", "2", "--jobs", "2", "--epochs", "2000",
]  # fmt: skip


def gone(pids: list[int]) -> bool:
    """Whether all of them have ended within five seconds."""
    until = time.monotonic() + 5
    while left := [
        pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    ]:
        if time.monotonic() > until:
            return not left
        time.sleep(0.05)
    return True


def appear(process: subprocess.Popen[str], *paths: Path) -> None:
    until = time.monotonic() + 120
    while not all(path.exists() for path in paths):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.05)


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")


@linux
def test_a_signal_to_all_ends_fits_at_once_and_keeps_their_states(tmp_path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mammozoo", "train", *FITS, "--out", "run"], cwd=tmp_path, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    states = [tmp_path / "run" / fold / "last.safetensors" for fold in ("fold-0", "fold-1")]
    appear(process, *states)
    group = subprocess.run(["ps", "-o", "pid=", "-g", str(process.pid)], capture_output=True, text=True, check=True)
    os.killpg(process.pid, signal.SIGTERM)  # as Slurm does; `kill` alone sends it to the first one
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert time.monotonic() - sent < 15 and "mammozoo train --resume run" in err and "Traceback" not in err
    assert gone([int(pid) for pid in group.stdout.split()])
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    assert all(state.exists() for state in states) and not list((tmp_path / "run").rglob("*.tmp"))


AT_WORK = """
import os, pathlib, time, torch
from mammozoo.training.parallel import run_parallel

def work(number):
    pathlib.Path(str(number)).write_text(str(os.getpid()))
    time.sleep(100)

list(run_parallel(work, [(0,), (1,)], 2, "loky", torch.device("cpu")))
"""


@linux
def test_fits_die_with_the_process_that_started_them(tmp_path) -> None:
    process = subprocess.Popen([sys.executable, "-c", AT_WORK], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    appear(process, tmp_path / "0", tmp_path / "1")
    time.sleep(0.1)
    process.kill()
    process.communicate(timeout=30)
    assert gone([int((tmp_path / name).read_text()) for name in "01"])


@linux
def test_what_does_not_stop_is_killed(tmp_path, monkeypatch) -> None:
    """Such as a fit that computes features for minutes."""
    monkeypatch.setattr(parallel, "_GRACE", 0.5)
    begun = [tmp_path / name for name in "01"]
    cpu = torch.device("cpu")
    with pytest.raises(Stopped):
        list(run_parallel(_sleep, [(path,) for path in begun], 2, "loky", cpu, lambda: all(p.exists() for p in begun)))
    assert gone([int(path.read_text()) for path in begun])


@linux
def test_a_killed_fit_is_one_paragraph() -> None:
    with pytest.raises(FailedError, match="killed"):
        list(run_parallel(_killed, [(0,), (1,)], 2, "loky", torch.device("cpu")))


@linux
def test_what_is_killed_once_the_end_was_asked_for_is_no_failure() -> None:
    """As a signal to a whole group does: before, the loss of the fits won over the word of the user."""
    with pytest.raises(Stopped):
        list(run_parallel(_killed, [(0,), (1,)], 2, "loky", torch.device("cpu"), lambda: True))


def _sleep(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(100)


def _killed(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
