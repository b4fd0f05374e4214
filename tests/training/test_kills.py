"""Kills and signals while Dask or Ray train fits: the table in docs/resume.md, cell by cell, on clusters that the command starts.

Those of loky, which are quicker, are in test_holding.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mammozoo.training.experiment import resume, train

from ..helpers import tiny

EPOCHS = 20
WORDS = [
    "--dataset", "phantom:n=24", "--backbone", "test_resnet", "--weights", "random", "--set", "size=32", "--device", "cpu",
    "--set", "augment=[]", "--strategy", "full", "--head", "gap:dropout=0.3", "--folds", "3", "--no-report", "--out", "run",
]  # fmt: skip
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    recipe = tiny(strategy="full", head="gap:dropout=0.3", epochs=EPOCHS, **{"split.folds": 3})
    return train(recipe, tmp_path_factory.mktemp("whole") / "run").path


@pytest.fixture
def begin(tmp_path, monkeypatch) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a training in a group of its own, in an empty folder, and returns once a fit has told of an epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # a machine under test is busy
    drivers = []

    def start(engine: str, epochs: int = EPOCHS) -> subprocess.Popen[str]:
        pytest.importorskip(package := {"dask": "distributed"}.get(engine, engine), reason=f"needs {package}")
        line = [sys.executable, "-m", "mammozoo", "train", *WORDS, "--epochs", str(epochs), "--jobs-by", engine]
        drivers.append(subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True))
        wait(a_fit, drivers[0])
        return drivers[0]

    yield start
    for driver in drivers:
        if driver.poll() is None:
            send(signal.SIGKILL, *below(driver.pid))
            driver.communicate()


def wait(until: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 300
    while not until():
        assert process is None or process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)


def a_fit() -> int:
    """The process of a fit that has told of an epoch; 0 if there is none."""
    for told in Path("run").rglob(".epochs"):
        if line := told.read_text().partition("\n")[0]:
            return int(json.loads(line)[0].rpartition(":")[2])
    return 0


def below(pid: int, name: str = "") -> list[int]:
    """A process and all that it has started, of which the command line has `name` in it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return [one for one in found if not name or name in Path(f"/proc/{one}/cmdline").read_text()]


def alive(pids: list[int]) -> list[int]:
    """Those that are there, and not only because nobody has asked how they ended."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and below(pid, "\0") == [pid]]


def send(signum: int, *pids: int) -> None:
    for pid in pids:
        os.kill(pid, signum)


#: What is done to the command, given its process → exit code; None for one that does not end by itself.
ENDS: dict[str, tuple[Callable[[int], None], int]] = {
    "SIGTERM": (lambda pid: send(signal.SIGTERM, pid), 143),
    "SIGTERM to all": (lambda pid: send(signal.SIGTERM, *below(pid)), 143),
    "Ctrl-C": (lambda pid: os.killpg(pid, signal.SIGINT), 130),
    "kill -9": (lambda pid: send(signal.SIGKILL, pid), -9),
    "kill -9 of a fit": (lambda pid: send(signal.SIGKILL, a_fit()), 0),
}


@pytest.mark.parametrize("what", ENDS)
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_however_a_training_ends_it_goes_on_to_the_same_bytes(what: str, engine: str, whole: Path, begin) -> None:
    driver = begin(engine)
    fit, (act, code) = a_fit(), ENDS[what]
    act(driver.pid)
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == code and "Traceback" not in said, said
    assert code != 143 or "mammozoo train --resume run" in said, said
    if code:
        resume(Path("run"))
    for name in ("predictions.csv", "model.safetensors"):
        assert (Path("run") / name).read_bytes() == (whole / name).read_bytes(), name
    wait(lambda: not alive([fit]))


def test_where_the_scheduler_of_ray_is_lost_the_run_fails_in_one_paragraph(begin) -> None:
    """Ray itself would end the command after a minute, with a line of its own; that of Dask is in test_workers.py."""
    driver = begin("ray", 5000)
    fit = a_fit()
    send(signal.SIGKILL, *below(driver.pid, "gcs_server"))
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 1 and "Traceback" not in said and "mammozoo train --resume run" in said, said
    assert json.loads(Path("run/run.json").read_text())["status"] == "failed"
    wait(lambda: not alive([fit]))
