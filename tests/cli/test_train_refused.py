"""`mammozoo train`: how it says no, and how it ends where it cannot go on."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mammozoo.config.loading import load


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _start(words: list[str], folder: Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mammozoo", *words],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--strategy", "frozzen"], 3, ["'frozzen'", "'frozen'"]),
        (["--head", "gapp"], 3, ["head 'gapp'", "'gap'"]),
        (["--set", "augment=[hflipp]"], 3, ["'hflipp'", "'hflip'"]),
        (["--set", "monitor=aucc"], 3, ["'aucc'", "'auc'"]),
        (["--dataset", "fantom"], 3, ["'fantom'", "'phantom'"]),
        (["--dataset", "phantom:m=3"], 2, ["'m'"]),
        (["--backbone", "test_resnett"], 3, ["'test_resnett'"]),
        (["--strategy", "last-blocks:99"], 2, ["99"]),
        (["--weights", "file:nowhere.safetensors"], 3, ["nowhere.safetensors"]),
        (["--weights", "file:weights.pt"], 2, ["safetensors only"]),
        (["--device", "gpu"], 2, ["'gpu'"]),
        (["--set", "epoch=3"], 2, ["'epoch'", "'epochs'"]),
        (["--set", "optimizer.lrr=3"], 2, ["'optimizer.lrr'", "'lr'"]),
        (["--set", "epochs"], 2, ["KEY=VALUE"]),
        (["--set", "epochs=[1"], 2, ["epochs=[1"]),
        (["--set", "batch.more=1"], 2, ["batch.more"]),
        (["--folds", "1000"], 2, ["1000"]),
        (["--set", "split.by=image"], 2, ["leak", "allow_leakage"]),
        (["--set", "classes=[benign,malignnt]"], 2, ["'malignnt'", "'malignant'"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_what_a_recipe_cannot_have(command, tiny, tmp_path, words: list[str], code: int, said: list[str]) -> None:
    command("train", *tiny, *words, "--out", "run").refused(code, *said)
    assert not (tmp_path / "run").exists()  # nothing was begun


def test_recipes_that_are_not_there_or_not_sound(command, tmp_path) -> None:
    command("train", "nowhere.yaml").refused(3, "nowhere.yaml")
    command("train", "defaul").refused(3, "'defaul'", "'default'")
    file = tmp_path / "mine.yaml"
    file.write_text("dataset: phantom\nbackbone: resnet9\nstratgy: drs\n")
    command("train", "mine.yaml").refused(2, "mine.yaml", "'stratgy'", "'strategy'")
    file.write_text("dataset: [phantom\n")
    command("train", "mine.yaml").refused(2, "mine.yaml", "line 2")
    file.write_bytes(b"\xff\xfe\x00")
    command("train", "mine.yaml").refused(2, "mine.yaml")


def test_a_folder_with_something_in_it_is_never_touched(command, tiny, tmp_path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.txt").write_text("mine")
    answer = command("train", *tiny, "--out", "run")
    answer.refused(9, "'run'", "--out")
    assert "reading images" not in answer.err  # said before the work, not after it
    assert _files(tmp_path) == {"run/mine.txt"}
    (tmp_path / "file").write_text("mine")
    command("train", *tiny, "--out", "file").refused(9, "'file'")
    command("train", *tiny, "--out", "file/run").refused(4, "file/run", "--out")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_a_folder_that_must_not_be_written(command, tiny, tmp_path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    command("train", *tiny, "--out", "locked/run").refused(4, "locked/run", "--out")


def test_a_full_disk(tiny, tmp_path) -> None:
    """No file may grow beyond 16 KB: the recipe fits, the log and the weights do not."""
    (tmp_path / "talker.py").write_text(
        "import logging\nfrom mammozoo import hookimpl\n\n@hookimpl\ndef epoch_end(run, row):\n"
        "    logging.getLogger('mammozoo.talker').info('x' * 20_000)\n"
    )
    process = _start(
        ["--plugin", "talker.py", "train", *tiny, "--out", "run"], tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384)),
    )  # fmt: skip
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "Traceback" not in err and "Logging error" not in err
    assert err.count("mammozoo: No space left to write 'run/holdout/last.safetensors'") == 1
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert not list((tmp_path / "run").rglob("model.safetensors"))
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "failed"
    assert "No space left" in facts["reason"]


def test_a_disk_so_full_that_nothing_can_be_said(command, tiny, tmp_path) -> None:
    """A file system of three pages: `run.json` itself cannot be written again, and stays as it was."""
    (tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12k", "none", str(tmp_path / "small")]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        command("train", *tiny, "--out", "small/run").refused(1, "No space left", "--out")
        left = _files(tmp_path / "small/run")
        assert not [name for name in left if name.endswith(".tmp")]
        if "run.json" in left:
            assert json.loads((tmp_path / "small/run/run.json").read_text())["status"] in ("running", "failed")
    finally:
        subprocess.run(["umount", str(tmp_path / "small")], check=True)


def test_a_loss_that_is_no_number_in_training_or_on_validation(command, tiny, tmp_path) -> None:
    """With one batch an epoch the weights burst after the only loss that training sees."""
    words = ("train", *tiny, "--strategy", "full", "--lr", "1e30", "--set", "precision=fp32")
    answer = command(*words, "--out", "run")
    answer.refused(1, "loss became", "1e+30", "--lr", "phantom-0-000")
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "failed"
    assert "loss became" in facts["reason"]
    assert not (tmp_path / "run/model.safetensors").exists()
    command(*words, "--batch", "64", "--out", "other").refused(1, "validation loss", "epoch 1")
    assert json.loads((tmp_path / "other/run.json").read_text())["status"] == "failed"


def test_ctrl_c(tiny, tmp_path) -> None:
    process = _start(
        ["train", *tiny, "--epochs", "5000", "--out", "run"], tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it is ignored below some shells
    )  # fmt: skip
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if " epoch 2:" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    said = "".join(heard) + err
    assert process.returncode == 130, said
    assert said.count("mammozoo: interrupted.") == 1
    assert "Traceback" not in said
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "interrupted"
    assert facts["ended"] >= facts["started"]
    assert _files(tmp_path / "run") == {"recipe.yaml", "run.json", "log.txt", "splits.json", "holdout/last.safetensors"}
    assert load(str(tmp_path / "run/recipe.yaml")).epochs == 5000


# In how many processes


@pytest.mark.parametrize(
    ("words", "cards", "said"),
    [
        (["--device", "auto"], 0, ["--gpus 2 needs 2 CUDA cards", "none", "--device cpu"]),
        (["--device", "cuda"], 1, ["there is 1", "Leave --gpus out"]),
        (["--device", "cuda", "--gpus", "4"], 3, ["there are 3", "--gpus 3"]),
        (["--device", "cuda:1"], 4, ["'cuda:1' is one device", "CUDA_VISIBLE_DEVICES"]),
        (["--device", "mps"], 0, ["'mps' is one device", "Leave --gpus or --device out"]),
        (["--device", "tpu"], 4, ["'tpu' is one device"]),
        (["--batch", "9"], 4, ["batches of 9", "--batch 10"]),
        (["--set", "grid={batch: [8, 7]}"], 4, ["batches of 7"]),
        (["--set", "sync_batch_norm=true"], 4, ["sync_batch_norm needs CUDA"]),
        (["--jobs", "2"], 4, ["leave --gpus or --jobs out"]),
        (["--set", "epoch=3"], 4, ["'epoch'"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_a_team_that_cannot_be_is_refused_before_it_starts(
    command, tiny, tmp_path, monkeypatch, words: list[str], cards: int, said: list[str]
) -> None:
    """By the process that would start the others; the cards are counted, and CUDA is not started."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    answer = command("train", *tiny, "--gpus", "2", *words, "--out", "run")
    answer.refused(2, *said)
    assert answer.err.count("\n") == 1 and not torch.cuda.is_initialized()
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_no_more_cards_than_there_are(command, tiny_run, monkeypatch, tmp_path) -> None:
    """The device is that of the run."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    command("train", "--resume", tiny_run.path, "--gpus", "2").refused(2, "--gpus 2 needs 2 CUDA cards", "there is 1")
    command("train", "--resume", "nowhere", "--gpus", "2").refused(3, "nowhere")
    for gpus in ("0", "-1"):
        answer = command("train", "--gpus", gpus)
        assert answer.code == 2 and "'--gpus'" in answer.err and "greater than or equal to 1" in answer.err
