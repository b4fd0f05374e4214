"""The command line without the seconds that a new process spends on importing torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mammozoo import cli


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON; the `schema` is checked on the way."""
        content = json.loads(self.out)
        assert content["schema"] == 1
        return content

    def refused(self, code: int, *words: str) -> None:
        """Assert one clear message on stderr, with these words, this exit code and nothing else."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err
        messages = [line for line in self.err.splitlines() if line.startswith("mammozoo: ")]
        assert len(messages) == 1, self.err
        for word in words:
            assert word in messages[0]


Command = Callable[..., Answer]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`mammozoo.cli.main` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["mammozoo", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The flags of a training of two seconds."""
    return [
        "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random", "--epochs", "1",
        "--device", "cpu", "--set", "size=64", "--set", "augment=[hflip]", "--no-report",
    ]  # fmt: skip
