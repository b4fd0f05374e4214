"""`train` on a graphics card."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu

_KILLS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"))
start, history, differences = (_KILLS[name] for name in ("start", "history", "differences"))

Answers = Callable[..., str]
Words = tuple[str, ...]


def facts(run: Path) -> dict[str, object]:
    """`run.json` of a complete run."""
    content: dict[str, object] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert content["status"] == "done"
    return content


def probabilities(run: Path) -> dict[tuple[str, str], float]:
    """(fold, sample) → probability of all images of a run."""
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as handle:
        return {(row["fold"], row["sample"]): float(row["p_malignant"]) for row in csv.DictReader(handle)}


def test_the_default_run_takes_the_card(device: str, answers: Answers, tmp_path: Path) -> None:
    """The first command of the README, with fewer images; its report is drawn too."""
    answers("train", "--strategy", "drs", "--dataset", "phantom:n=60", "--epochs", "1", "--gpus", "1", "--out", "run")
    run = facts(tmp_path / "run")
    assert (run["device"], run["processes"]) == (device, 1)
    assert "<svg" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("strategy", ["drs", "full", "last-blocks:1", "drs+last-blocks:1"])
def test_strategies_learn(device: str, strategy: str, answers: Answers, words: Words, tmp_path: Path) -> None:
    """The loss on training images falls."""
    answers(*words, "--strategy", strategy, "--epochs", "12", "--lr", "1e-2", "--set", "augment=[]", "--out", "run")
    losses = [float(row["train_loss"]) for row in history(tmp_path / "run")]
    assert losses[-1] < losses[0]
    assert facts(tmp_path / "run")["device"] == device
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert ("Steps are replayed from a CUDA graph" in log) == (device == "cuda")


def test_cached_features_change_nothing(device: str, answers: Answers, words: Words, tmp_path: Path) -> None:
    """`frozen`: without the cache, with it, and again from what is stored."""
    words = (*words, "--strategy", "frozen", "--set", "augment=[]", "--epochs", "3")
    answers(*words, "--set", "cache=false", "--out", "plain")
    for out in ("cached", "again"):
        answers(*words, "--out", out)
        assert "frozen trunk ends" in (tmp_path / out / "log.txt").read_text(encoding="utf-8")
    assert differences(tmp_path / "cached", tmp_path / "again") == []
    for a, b in zip(history(tmp_path / "plain"), history(tmp_path / "cached"), strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), abs=2e-3)
    assert probabilities(tmp_path / "plain") == pytest.approx(probabilities(tmp_path / "cached"), abs=0.01)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_a_resumed_run_has_the_bytes_of_an_uninterrupted_one(
    device: str, end: signal.Signals, answers: Answers, tmp_path: Path
) -> None:
    """Killed, it goes on after an epoch; stopped by Slurm, after a batch: the card's dropout goes on too."""
    words = (*_KILLS["WORDS"], "--device", device)
    answers("train", *words, "--out", "whole")
    process = start(tmp_path, *words, "--out", "run")
    assert any("epoch 2" in line for line in process.stderr), "it ended before it could be killed"
    os.killpg(process.pid, end)
    process.communicate(timeout=60)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] != "done"
    answers("train", "--resume", "run", "--no-report")
    assert differences(tmp_path / "whole", tmp_path / "run") == []
    assert facts(tmp_path / "run")["device"] == device


def test_folds_at_once(device: str, answers: Answers, words: Words, tmp_path: Path) -> None:
    """Processes share the card; predictions are those of one fold after the other."""
    words = (*words, "--strategy", "drs", "--folds", "3")
    answers(*words, "--jobs", "2", "--out", "two")
    answers(*words, "--out", "one")
    assert facts(tmp_path / "two")["jobs"] == 2
    assert (tmp_path / "two" / "splits.json").read_bytes() == (tmp_path / "one" / "splits.json").read_bytes()
    assert probabilities(tmp_path / "two") == pytest.approx(probabilities(tmp_path / "one"), abs=0.01)


@pytest.mark.parametrize("strategy", ["full", "drs"])
def test_a_process_group_of_one_has_the_losses_of_a_single_process(device: str, strategy: str, tmp_path: Path) -> None:
    """Through NCCL, with everything that processes exchange."""
    script = Path(__file__).with_name("group_of_one.py")
    done = subprocess.run(
        [sys.executable, script, device, strategy],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["backend"] == ("nccl" if device == "cuda" else "gloo")
    assert result["group"] == pytest.approx(result["single"], abs=1e-3)
    assert len(set(result["single"])) > 1


@pytest.mark.skipif(not any(map(shutil.which, ("gcc", "cc", "clang"))), reason="needs a C compiler")
def test_compiled(device: str, words: Words, tmp_path: Path) -> None:
    """As the plain run, or refused in one line where Triton or Python's headers are missing."""
    process = start(tmp_path, *words[1:], "--strategy", "full", "--compile", "--out", "run")
    _, err = process.communicate(timeout=400)
    if process.returncode == 2 and "--compile needs" in err and "Traceback" not in err:
        pytest.skip(err.strip().splitlines()[-1])
    assert process.returncode == 0, err
    assert facts(tmp_path / "run")["device"] == device
