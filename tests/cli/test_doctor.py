"""`mammozoo doctor`: a report that can be posted."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from mammozoo.zoo import hub


def test_a_hub_that_refuses_is_reported_and_not_fatal(command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody can answer there
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        answer = command("doctor", "--json")
    assert answer.code == 0
    facts = answer.json["facts"]
    assert "does not answer" in facts["Hub"]
    assert {"mammozoo", "Python", "torch", "timm", "device", "precision", "Hub cache", "plugin drs"} <= set(facts)
    assert facts["precision"].startswith(("bf16", "fp32"))


def test_a_hub_that_says_nothing_is_not_waited_for(command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        assert hub.PATIENCE <= 5
        monkeypatch.setattr(hub, "PATIENCE", 0.5)
        started = time.perf_counter()
        answer = command("doctor")
    assert answer.code == 0
    assert time.perf_counter() - started < 5
    assert "does not answer" in " ".join(answer.out.split())


def test_no_home_folder_and_no_user_name(mammozoo, tmp_path: Path) -> None:
    home = tmp_path / "jane-doe"
    home.mkdir()
    (home / "mine.py").write_text("raise RuntimeError(__file__)")
    answer = mammozoo(
        "--plugin", home / "mine.py", "doctor", "--json",
        HOME=str(home), USER="jane-doe", LOGNAME="jane-doe", HF_HOME=str(home / "cache"),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "jane-doe" not in answer.stdout
    facts = json.loads(answer.stdout)["facts"]
    assert facts["Hub cache"].startswith("~")
    assert "RuntimeError" in facts["plugin mine"]
