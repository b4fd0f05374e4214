"""Fits on a real Dask cluster, whose scheduler and workers are processes started as its users do, and who may join it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mammozoo.errors import FailedError, IncompatibleError, UnreachableError
from mammozoo.training import engines, experiment
from mammozoo.training.experiment import train
from mammozoo.training.parallel import Jobs
from mammozoo.training.workers import Worker, check_workers, look

from ..helpers import Notes, tiny

TWO = {"strategy": "full", "head": "gap:dropout=0.3", "split.folds": 2}
ONE = [
    "--dataset", "phantom:n=24", "--backbone", "test_resnet", "--weights", "random", "--set", "size=32", "--device", "cpu",
    "--head", "gap:dropout=0.3", "--folds", "2", "--no-report",
]  # fmt: skip


def test_a_worker_without_the_disk_versions_or_plugins_is_refused(tmp_path) -> None:
    recipe, file = tiny(), tmp_path / ".pulse"
    file.write_text("token")
    good = look(recipe, file, "token")
    assert not good.problem and list(tmp_path.iterdir()) == [file]
    told = Notes()
    check_workers(lambda *_: {"a": good, "b": good}, recipe, file, "token", told.note)
    assert len(told.said) == 2 and all("mammozoo" in note and "cores" in note for note in told.said)
    bad = {
        "does not see": look(recipe, tmp_path / "other" / ".pulse", "token"),
        "another": look(recipe, file, "another"),
        "torch 1.0 there": Worker("host", 1, 1.0, 0, good.versions | {"torch": "1.0"}),
        "is missing there": Worker("host", 1, 1.0, 0, {"mammozoo": good.versions["mammozoo"]}),
        "No module": ModuleNotFoundError("No module named 'mammozoo'"),
    }
    for words, answer in bad.items():
        words = "does not see" if words == "another" else words
        with pytest.raises(IncompatibleError, match=f"1 of 2 workers.*{words}"):
            check_workers(lambda *_, answer=answer: {"a": good, "b": answer}, recipe, file, "token", told.note)
    with pytest.raises(FailedError, match="no worker"):
        check_workers(lambda *_: {}, recipe, file, "token", told.note)


class Dask:
    """A scheduler, whose workers begin in another folder than the test."""

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        _wait(self.scheduler, self.file, 60)

    def start(self, what: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(self.file), *words]
        log = (self.folder / f"{what}.txt").open("a")
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=log, text=True)


@pytest.fixture(scope="module")
def dask(tmp_path_factory) -> Iterator[Dask]:
    if sys.platform != "linux":
        pytest.skip("clusters are of Linux")
    pytest.importorskip("distributed", reason="needs dask: pip install '.[dask]'")
    started = Dask(tmp_path_factory.mktemp("dask"))
    yield started
    started.scheduler.kill()
    started.scheduler.wait(30)


@pytest.fixture
def address(dask: Dask, monkeypatch, tmp_path) -> str:
    monkeypatch.chdir(tmp_path)
    address = str(json.loads((dask.folder / "scheduler.json").read_text())["address"])
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    return address


@pytest.mark.timeout(300)
def test_fits_on_a_cluster_give_the_run_of_one_process(dask: Dask, address: str, tmp_path, monkeypatch) -> None:
    """One worker with several threads, as `dask worker` has them, in another folder than this process."""
    one = train(tiny(**TWO), tmp_path / "one")
    worker = dask.start("worker", "--nthreads", "4", "--no-dashboard", "--no-nanny")
    monkeypatch.setattr(experiment, "try_fold", None)  # nothing is trained here
    try:
        for number, jobs in enumerate((Jobs(2, "dask"), Jobs(1, "dask"))):
            told = Notes()
            run = train(tiny(**TWO), Path(f"run-{number}"), told, jobs=jobs)
            assert any("worker tcp://" in note and "4 threads" not in note for note in told.said)
            for name in ("predictions.csv", "model.safetensors", "scores.json"):
                assert (run.path / name).read_bytes() == (one.path / name).read_bytes(), name
    finally:
        worker.terminate()
        worker.wait(30)


@pytest.mark.cluster
def test_a_cluster_without_workers_or_with_others_is_refused(dask: Dask, address: str, monkeypatch) -> None:
    monkeypatch.setattr(engines, "_WORKERS", 0.5)
    with pytest.raises(FailedError, match="no worker"):
        train(tiny(**TWO), Path("none"), jobs=Jobs(2, "dask"))
    monkeypatch.setattr(engines, "_WORKERS", 60)
    other = "import mammozoo; mammozoo.__version__ = '0.0.1'"
    (dask.folder / "other.py").write_text(other)
    worker = dask.start("worker", "--no-dashboard", "--no-nanny", "--preload", str(dask.folder / "other.py"))
    try:
        with pytest.raises(IncompatibleError, match=r"mammozoo 0\.0\.1 there"):
            train(tiny(**TWO), Path("other"), jobs=Jobs(2, "dask"))
    finally:
        worker.terminate()
        worker.wait(30)
    assert not list(Path("other").rglob("*.safetensors")), "before anything is trained"
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    import dask as library

    with (
        library.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"),
    ):
        train(tiny(**TWO), Path("away"), jobs=Jobs(2, "dask"))


@pytest.mark.cluster
def test_a_lost_worker_is_replaced_and_a_lost_scheduler_is_one_paragraph(
    dask: Dask, address: str, command, monkeypatch
) -> None:
    """The last test of this scheduler, which it kills."""
    words = [
        sys.executable,
        "-m",
        "mammozoo",
        "train",
        *ONE,
        "--epochs",
        "30",
        "--jobs",
        "2",
        "--jobs-by",
        "dask",
        "--out",
    ]
    worker = dask.start("worker", "--no-dashboard", "--no-nanny", "--nthreads", "2")
    driver = subprocess.Popen([*words, "run"], stderr=subprocess.PIPE, text=True)
    _wait(driver, Path("run/fold-0/last.safetensors"))
    worker.kill()
    worker.wait()
    other = dask.start("worker", "--no-dashboard", "--no-nanny", "--nthreads", "2")
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert command("train", *ONE, "--epochs", "30", "--out", "one").code == 0
    for name in ("predictions.csv", "model.safetensors"):
        assert (Path("run") / name).read_bytes() == (Path("one") / name).read_bytes(), name
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "3s")
    driver = subprocess.Popen([*words, "lost"], stderr=subprocess.PIPE, text=True)
    _wait(driver, Path("lost/fold-0/last.safetensors"))
    dask.scheduler.kill()
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 1 and "Traceback" not in said and "mammozoo train --resume lost" in said, said
    other.kill()
    other.wait()


def _wait(process: subprocess.Popen[str], path: Path, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.05)
