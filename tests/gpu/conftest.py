"""Fixtures of the tests on a graphics card.

They run commands, in processes of their own: the tests' own process sees no card (tests/conftest.py). `MAMMOZOO_TEST_CARD` says
which one the commands see, as CUDA_VISIBLE_DEVICES does; if it is not set, that of CUDA_VISIBLE_DEVICES, or the first. With
`MAMMOZOO_TEST_CARD=cpu` they run on the processor, to try the tests themselves where there is no card.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

CARD = os.environ["MAMMOZOO_TEST_CARD"]
#: A training of seconds, without `--device`: `auto` must take the card.
WORDS = (
    "train", "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random", "--epochs", "2", "--no-report",
    "--set", "size=64", "--set", "augment=[hflip]",
)  # fmt: skip


@contextlib.contextmanager
def _visible_card() -> Iterator[None]:
    """Processes that are started meanwhile see the card."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "" if CARD == "cpu" else CARD)
        yield


@pytest.fixture(scope="session")
def device() -> str:
    """`cuda`, or `cpu` where that is asked for; skips where there is no card."""
    if CARD == "cpu":
        return CARD
    with _visible_card():
        words = [sys.executable, "-c", "import torch; print(torch.cuda.is_available())"]
        built = torch.backends.cuda.is_built()
        if not built or "True" not in subprocess.run(words, capture_output=True, text=True, check=True).stdout:
            pytest.skip("needs a graphics card that torch can use (MAMMOZOO_TEST_CARD=cpu tries the test without)")
    return "cuda"


@pytest.fixture(autouse=True)
def visible(device: str) -> Iterator[None]:
    """Commands of the test see the card."""
    with _visible_card():
        yield


@pytest.fixture
def words() -> tuple[str, ...]:
    """`mammozoo train` of seconds on whatever device is best."""
    return WORDS


@pytest.fixture(scope="session")
def trained(device: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained on the card, and that tells images apart; read it, never change it."""
    run = tmp_path_factory.mktemp("card") / "run"
    words = (
        *WORDS, "--strategy", "full", "--epochs", "8", "--lr", "1e-2", "--set", "monitor=auc", "--set", "calibration=none",
        "--out", run,
    )  # fmt: skip
    with _visible_card():
        subprocess.run([sys.executable, "-m", "mammozoo", *words], check=True)
    return run


@pytest.fixture
def answers(mammozoo: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Standard output of a command, which must end well."""

    def ask(*words: object) -> str:
        done = mammozoo(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ask
