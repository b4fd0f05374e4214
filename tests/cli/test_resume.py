"""Runs that end early, and runs in several processes: killed, stopped and resumed for real."""

import csv
import json
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mammozoo import cli

#: The runs, and what must be equal in the end, are those of the benchmark that kills much more often.
_KILLS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"))
NAMES = ("WORDS", "start", "history", "children", "differences")
WORDS, start, history, children, differences = map(_KILLS.get, NAMES)


def train_here(folder: Path, *words: object) -> None:
    """`mammozoo train` to its end, without the seconds that a new process takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["mammozoo", "train", *map(str, words)])
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    assert any(words in line for line in process.stderr), f"it ended without '{words}'"


def kill(process: subprocess.Popen[str]) -> bool:
    """Kill -9 its whole group; whether it was still alive."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train_here(folder, *WORDS, "--out", "run")
    return folder / "run"


def test_killed_again_and_again(command, whole: Path, tmp_path) -> None:
    """The resumed process dies too; what remains in the end has the bytes of a run that lived."""
    rng, kills = random.Random(0), 0
    for words in ([*WORDS, "--out", "run"], ["--resume", "run", "--no-report"]):
        process = start(tmp_path, *words)
        wait_for(process, "epoch" if kills else "training")
        time.sleep(rng.uniform(0, 0.2))
        kills += kill(process)
    assert kills == 2, "training was over before it could be killed"
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    recipe = tmp_path / "other" / "recipe.yaml"
    recipe.write_text(re.sub("batch: 8", "batch: 4", recipe.read_text()))
    command("train", "--resume", "other", "--no-report").refused(7, "another recipe")
    assert command("train", "--resume", "run", "--no-report").code == 0
    assert differences(whole, tmp_path / "run") == []
    assert not (tmp_path / "run" / "holdout" / "last.safetensors").exists()
    assert not list((tmp_path / "run").rglob("*.tmp")), "half-written files are gone or never seen"


def test_sigterm_keeps_the_batch(command, whole: Path, tmp_path) -> None:
    """As Slurm does before a job's time is over: it ends at once, says how to go on, and loses nothing."""
    process = start(tmp_path, *WORDS, "--out", "run")
    wait_for(process, "epoch 2")
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert time.monotonic() - sent < 20
    assert "mammozoo train --resume run" in err and "Traceback" not in err
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    assert command("train", "--resume", "run", "--no-report").code == 0
    assert differences(whole, tmp_path / "run") == []
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "done" and len(facts["resumed"]) == 1


def test_only_what_is_missing_is_trained(command, tmp_path) -> None:
    """Folds that are complete are not trained again."""
    words = [*WORDS, "--folds", "3", "--set", "phases=[{name: adam, lr: 1e-3, epochs: 2}]", "--out", "run"]
    process = start(tmp_path, *words)
    wait_for(process, "training fold-1")
    kill(process)
    before = (tmp_path / "run/fold-0/model.safetensors").stat().st_mtime_ns
    answer = command("train", "--resume", "run", "--no-report")
    assert "training fold-0" not in answer.err and "training fold-2" in answer.err
    assert (tmp_path / "run/fold-0/model.safetensors").stat().st_mtime_ns == before
    train_here(tmp_path, *words[:-1], "again")
    assert differences(tmp_path / "again", tmp_path / "run", "fold-2") == []


def test_what_cannot_be_resumed_or_extended(command, whole: Path, tmp_path) -> None:
    command("train", "--resume", whole).refused(9, "complete")
    command("train", "--resume", "nowhere").refused(3, "nowhere")
    command("train", "--resume", whole, "--epochs", "3").refused(2, "nothing else")
    command("train", "--extend", whole).refused(2, "--epochs")
    command("train", "--extend", whole, "--epochs", "30", "--batch", "4").refused(2, "nothing else")
    command("train", "--extend", whole, "--epochs", "20").refused(2, "20 epochs already")
    command("train", "--extend", whole, "--epochs", "30").refused(2, "--keep-state")


# ---------------------------------------------------------------- several processes

#: Nothing here depends on which process sees which image: batch norms are frozen, nothing is dropped.
TEAM = [
    "--dataset", "phantom:n=40", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--no-report",
    "--strategy", "drs", "--batch", "8", "--set", "size=48", "--set", "precision=fp32",
    "--set", "augment=[hflip]", "--set", "batch_norm=frozen",
]  # fmt: skip


def test_two_processes_give_the_losses_of_one(tmp_path) -> None:
    process = start(tmp_path, *TEAM, "--epochs", "3", "--gpus", "2", "--out", "two")
    train_here(tmp_path, *TEAM, "--epochs", "3", "--out", "one")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-5)
        assert float(a["val_loss"]) == pytest.approx(float(b["val_loss"]), rel=1e-5)
    rows = [list(csv.DictReader((tmp_path / run / "predictions.csv").open())) for run in ("one", "two")]
    assert [row["sample"] for row in rows[0]] == [row["sample"] for row in rows[1]], "no image twice, none left out"
    for a, b in zip(*rows, strict=True):
        assert float(a["p_malignant"]) == pytest.approx(float(b["p_malignant"]), abs=1e-4)
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2


def test_when_one_process_dies_none_lives_on(tmp_path) -> None:
    """Neither where one of two is killed, which the launcher tells, nor where the launcher itself is."""
    process = start(tmp_path, *TEAM, "--epochs", "200", "--gpus", "2", "--out", "run")
    wait_for(process, "epoch 2")
    victim = children(process.pid)[1]
    os.kill(victim, signal.SIGKILL)
    died = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - died < 30
    assert process.returncode == 1, err
    assert "process 2 of 2" in err and "signal 9" in err
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] in ("failed", "interrupted")
    process = start(tmp_path, "--resume", "run", "--gpus", "2", "--no-report")
    wait_for(process, "epoch")
    team = children(process.pid)
    assert len(team) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)  # they hold its stderr open as long as they live
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "running", "they went on to the end"
    assert not [
        pid for pid in team if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_a_team_says_what_is_wrong_once(tmp_path) -> None:
    process = start(tmp_path, *TEAM, "--gpus", "2", "--strategy", "drz")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "drz" in err and "Traceback" not in err
