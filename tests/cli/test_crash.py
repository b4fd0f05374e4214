"""A bug, of ours or of an operator that torch lacks here: one message, the traceback in a file, a run that can go on."""

import json
import os
import socket
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from mammozoo.errors import scene_of, set_scene
from mammozoo.evaluation import predict
from mammozoo.training.trainer import Trainer
from mammozoo.zoo import hub

NO_KERNEL = "no kernel image is available for execution on the device"
SITE = """
    import torch
    from torch.nn import functional

    convolve = functional.conv2d

    def conv2d(*given, **named):
        if torch.is_grad_enabled():
            raise RuntimeError("no kernel image is available for execution on the device")
        return convolve(*given, **named)

    functional.conv2d = conv2d
"""


def failing(error: BaseException, from_epoch: int = 0) -> Callable[[Trainer], None]:
    epoch = Trainer._train_epoch

    def fail(trainer: Trainer) -> None:
        if trainer.state.epoch >= from_epoch:
            raise error
        epoch(trainer)

    return fail


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_training_that_met_one_can_be_resumed(command, tiny, monkeypatch, cache: Path, tmp_path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", failing(RuntimeError(NO_KERNEL), from_epoch=1))
        answer = command("train", *tiny, "--epochs", "2", "--out", "run")
    failed = "training holdout, epoch 2 failed: RuntimeError: no kernel image"
    answer.refused(70, failed, "train --resume run", "run/log.txt", "doctor")
    assert "--device cpu" not in answer.err, "it was on the processor"
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert facts["status"] == "failed" and NO_KERNEL in facts["reason"]
    log = (tmp_path / "run/log.txt").read_text()
    assert "Traceback" in log and "in fail" in log
    assert not list(cache.glob("crash-*")), "one traceback is enough"
    assert command("train", "--resume", "run", "--no-report").code == 0


@pytest.mark.parametrize("more", [[], ["--folds", "2", "--jobs", "2"]], ids=["here", "in workers"])
def test_an_operator_that_is_not_there(command, mammozoo, tiny, tmp_path, monkeypatch, more: list[str]) -> None:
    """For real: every convolution with a gradient raises, in this process, or in one of its own and those that it starts."""
    words = ("train", *tiny, *more, "--out", "run")
    if more:
        (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(SITE))
        path = os.pathsep.join(part for part in (str(tmp_path), os.environ.get("PYTHONPATH", "")) if part)
        answer = mammozoo(*words, PYTHONPATH=path)
    else:
        monkeypatch.setattr(functional, "conv2d", functional.conv2d)  # which puts it back
        exec(textwrap.dedent(SITE), {})
        answer = command(*words)
    where = f"mammozoo: training {'fold-' if more else 'holdout'}"
    answer.refused(70, where, ", epoch 1 failed: RuntimeError: no kernel image", "--resume run")
    assert "in conv2d" in (tmp_path / "run/log.txt").read_text()
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"


@pytest.fixture
def broken(monkeypatch) -> Callable[[BaseException], None]:
    """Makes `predict` meet an exception behind the network."""

    def install(error: BaseException) -> None:
        def decide(*given: Any) -> None:
            raise error

        monkeypatch.setattr(predict, "decide", decide)

    return install


def test_elsewhere_the_traceback_has_a_file_of_its_own(command, broken, cache: Path) -> None:
    token = "hf_" + "x" * 34
    broken(RuntimeError(f"{NO_KERNEL}\nwith {token} at https://user:{token}@host below {Path.home()}"))
    answer = command("predict", "--example", "--device", "cpu")
    (path,) = cache.glob("crash-*.txt")
    answer.refused(70, "mammozoo predict failed: RuntimeError: no kernel image", f"'{path}'", "mammozoo doctor")
    kept = path.read_text()
    assert "mammozoo predict --example --device cpu" in kept and "in decide" in kept and NO_KERNEL in kept
    assert token not in kept and str(Path.home()) not in kept


def test_the_way_on_is_the_processor_where_a_card_had_part_in_it(command, broken, cache: Path) -> None:
    error = RuntimeError(NO_KERNEL)
    set_scene(error, device="cuda:0")
    set_scene(error, doing="predicting")
    assert scene_of(error).device == "cuda:0"
    broken(error)
    command("predict", "--example").refused(70, "predicting failed", "--device cpu may avoid it.")


def test_a_file_that_cannot_be_written_is_no_second_bug_and_debug_shows_it_at_once(
    command, broken, cache: Path, monkeypatch
) -> None:
    cache.write_text("no folder")
    broken(ValueError("odd"))
    words = ("predict", "--example", "--device", "cpu")
    command(*words).refused(70, "predict failed: ValueError", "could not be written", "MAMMOZOO_DEBUG=1 shows it")
    monkeypatch.setenv("MAMMOZOO_DEBUG", "1")
    answer = command(*words)
    assert answer.code == 70 and "Traceback" in answer.err and "in decide" in answer.err and "mammozoo: " in answer.err


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), MemoryError(),
        RuntimeError("MPS backend out of memory"), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_too_little_memory_is_no_bug(command, tiny, broken, monkeypatch, cache, tmp_path, error: BaseException) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", failing(error))
        command("train", *tiny, "--out", "run").refused(1, "Out of memory at batch 16. Try --batch 8.")
    assert "Try --batch 8" in json.loads((tmp_path / "run/run.json").read_text())["reason"]
    broken(error)
    command("predict", "--example").refused(1, "Out of memory", "smaller --batch")
    assert not list(cache.glob("crash-*"))


# ---------------------------------------------------------------- `mammozoo doctor`: a report that can be posted


@pytest.mark.parametrize("listens", [False, True], ids=["refuses", "says nothing"])
def test_a_hub_without_an_answer_is_reported_and_not_waited_for(command, monkeypatch, listens: bool) -> None:
    assert hub.PATIENCE <= 5
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if listens:
            taken.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "PATIENCE", 0.5)
        started = time.perf_counter()
        facts = command("doctor", "--json").ok.json["facts"]
    assert time.perf_counter() - started < 5
    assert "does not answer" in facts["Hub"]
    assert {"mammozoo", "Python", "torch", "timm", "device", "precision", "Hub cache", "plugin drs"} <= set(facts)
    assert facts["precision"].startswith(("bf16", "fp32"))


def test_no_home_folder_and_no_user_name(mammozoo, tmp_path) -> None:
    home = tmp_path / "jane-doe"
    home.mkdir()
    (home / "mine.py").write_text("raise RuntimeError(__file__)")
    answer = mammozoo(
        "--plugin", home / "mine.py", "doctor", "--json",
        HOME=str(home), USER="jane-doe", LOGNAME="jane-doe", HF_HOME=str(home / "cache"),
    )  # fmt: skip
    assert "jane-doe" not in answer.ok.out
    facts = answer.json["facts"]
    assert facts["Hub cache"].startswith("~")
    assert "RuntimeError" in facts["plugin mine"]
