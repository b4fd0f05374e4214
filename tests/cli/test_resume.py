"""Runs that end early, and runs in several processes: killed, stopped and resumed for real."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: Dropout, augmentation, momentum, a schedule and two phases: everything that has a state.
WORDS = [
    "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--no-report",
    "--strategy", "full", "--head", "gap:dropout=0.3", "--batch", "8", "--set", "size=48",
    "--set", "augment=[hflip, affine]",
    "--set", "phases=[{name: adam, lr: 1e-3, epochs: 12}, {name: sgd, lr: 1e-2, epochs: 12}]",
    "--set", "schedule={kind: exponential, factor: 0.9}",
]  # fmt: skip
FILES = ("model.safetensors", "config.json", "predictions.csv", "scores.json", "splits.json")


def start(folder: Path, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mammozoo", "train", *map(str, words)],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def history(run: Path, split: str = "holdout") -> list[dict[str, str]]:
    with (run / split / "history.csv").open(encoding="utf-8", newline="") as handle:
        return [{k: v for k, v in row.items() if k not in ("seconds", "rate")} for row in csv.DictReader(handle)]


def same(a: Path, b: Path, split: str = "holdout") -> None:
    for name in FILES:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert history(a, split) == history(b, split)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as it is when nobody interrupts it."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, *WORDS, "--out", "run"))
    return folder / "run"


def killed(folder: Path, words: list[object], seconds: float) -> bool:
    """Start, and kill -9 the whole group so many seconds after training has begun; whether it was still alive then."""
    process = start(folder, *words)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training"):
            break
    time.sleep(seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def test_killed_again_and_again(whole: Path, tmp_path: Path) -> None:
    """Some resumed processes die too; what remains in the end has the bytes of a run that lived."""
    rng = random.Random(0)
    words: list[object] = [*WORDS, "--out", "run"]
    kills = 0
    for _ in range(6):
        if not (tmp_path / "run" / "run.json").exists():
            words = [*WORDS, "--out", "run"]
        kills += killed(tmp_path, words, rng.uniform(0, 0.6))
        words = ["--resume", "run", "--no-report"]
        if json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "done":
            break
    assert kills >= 1, "training was over before it could be killed"
    if json.loads((tmp_path / "run" / "run.json").read_text())["status"] != "done":
        finish(start(tmp_path, *words))
    same(whole, tmp_path / "run")
    assert not (tmp_path / "run" / "holdout" / "last.safetensors").exists()
    assert not list((tmp_path / "run").rglob("*.tmp")), "half-written files are gone or never seen"


def test_sigterm_keeps_the_batch(whole: Path, tmp_path: Path) -> None:
    """As Slurm does before a job's time is over: it ends at once, says how to go on, and loses nothing."""
    process = start(tmp_path, *WORDS, "--out", "run")
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 2" in line:
            break
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert time.monotonic() - sent < 20
    assert "mammozoo train --resume run" in err and "Traceback" not in err
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    finish(start(tmp_path, "--resume", "run", "--no-report"))
    same(whole, tmp_path / "run")
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "done" and len(facts["resumed"]) == 1


def test_only_what_is_missing_is_trained(tmp_path: Path) -> None:
    """Folds that are complete are not trained again."""
    words = [*WORDS, "--folds", "3", "--out", "run"]
    process = start(tmp_path, *words)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("training fold-1"):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = (tmp_path / "run/fold-0/model.safetensors").stat().st_mtime_ns
    _, err = finish(start(tmp_path, "--resume", "run", "--no-report"))
    assert "training fold-0" not in err and "training fold-2" in err
    assert (tmp_path / "run/fold-0/model.safetensors").stat().st_mtime_ns == before
    finish(start(tmp_path, *words[:-1], "again"))
    same(tmp_path / "again", tmp_path / "run", "fold-2")


def test_what_cannot_be_resumed(command, whole: Path, tmp_path: Path) -> None:
    command("train", "--resume", whole).refused(9, "complete")
    command("train", "--resume", "nowhere").refused(3, "nowhere")
    command("train", "--resume", whole, "--epochs", "3").refused(2, "nothing else")


def test_a_state_of_another_recipe_is_refused(command, tmp_path: Path) -> None:
    killed(tmp_path, [*WORDS, "--out", "run"], 0.4)
    recipe = tmp_path / "run" / "recipe.yaml"
    if not (tmp_path / "run/holdout/last.safetensors").exists():
        pytest.skip("killed before the first epoch was over")
    recipe.write_text(re.sub("batch: 8", "batch: 4", recipe.read_text()))
    command("train", "--resume", "run", "--no-report").refused(7, "another recipe")


# ---------------------------------------------------------------- several processes

#: Nothing here depends on which process sees which image: batch norms are frozen, nothing is dropped.
TEAM = [
    "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random", "--device", "cpu", "--no-report",
    "--strategy", "drs", "--batch", "8", "--epochs", "3", "--set", "size=48", "--set", "precision=fp32",
    "--set", "augment=[hflip]", "--set", "batch_norm=frozen",
]  # fmt: skip


def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    finish(start(tmp_path, *TEAM, "--out", "one"))
    finish(start(tmp_path, *TEAM, "--gpus", "2", "--out", "two"))
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-5)
        assert float(a["val_loss"]) == pytest.approx(float(b["val_loss"]), rel=1e-5)
    rows = [list(csv.DictReader((tmp_path / run / "predictions.csv").open())) for run in ("one", "two")]
    assert [row["sample"] for row in rows[0]] == [row["sample"] for row in rows[1]], "no image twice, none left out"
    for a, b in zip(*rows, strict=True):
        assert float(a["p_malignant"]) == pytest.approx(float(b["p_malignant"]), abs=1e-4)
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2


def test_a_process_that_dies_ends_the_run(tmp_path: Path) -> None:
    process = start(tmp_path, *TEAM[:-6], "--epochs", "200", "--gpus", "2", "--out", "run")
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 2" in line:
            break
    children = subprocess.run(
        ["pgrep", "-f", "mammozoo train .*--out run"], capture_output=True, text=True, check=True
    ).stdout.split()
    workers = [int(pid) for pid in children if int(pid) != process.pid and os.getpgid(int(pid)) != os.getpgid(0)]
    victim = next(pid for pid in workers if b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    os.kill(victim, signal.SIGKILL)
    died = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - died < 30
    assert process.returncode == 1, err
    assert "process 2 of 2" in err and "signal 9" in err
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] in ("failed", "interrupted")


def test_a_team_says_what_is_wrong_once(tmp_path: Path) -> None:
    process = start(tmp_path, *TEAM, "--gpus", "2", "--strategy", "drz")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "drz" in err and "Traceback" not in err
