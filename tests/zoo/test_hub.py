"""Weights from a hub that cannot be reached: a clear message, soon, and never random weights instead."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mammozoo.errors import UnreachableError
from mammozoo.zoo.hub import PATIENCE, check_reachable

Command = Callable[..., subprocess.CompletedProcess[str]]
#: Seconds that the whole command has.
LIMIT = 15
TRAIN = (
    "train", "--dataset", "phantom:n=60", "--backbone", "resnet18", "--weights", "imagenet", "--device", "cpu", "--out", "run",
)  # fmt: skip


@pytest.fixture
def closed() -> Iterator[str]:
    """An address at which nobody listens: bound, so that nobody else takes it, but not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def _serve(answers: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """Accept connections and hand each to `answers` with its number, counted from 0."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    threading.Thread(target=answers, args=(connection, len(held) - 1), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts and never says a word."""
    yield from _serve(lambda connection, number: None)


@pytest.fixture
def trickling() -> Iterator[str]:
    """A server that always has one more byte to say, so that no single read ever takes long."""

    def trickle(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while True:
                time.sleep(0.2)
                connection.sendall(b"x")

    yield from _serve(trickle)


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server that speaks another language."""

    def greet(connection: socket.socket, number: int) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")
        connection.close()

    yield from _serve(greet)


@pytest.fixture
def half_dead() -> Iterator[str]:
    """A server that answers the first question and no other."""

    def answer(connection: socket.socket, number: int) -> None:
        if number == 0:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.close()

    yield from _serve(answer)


def refused(command: Command, home: Path, **environment: str) -> str:
    """The message of a refused training, which took no longer than it may and left nothing."""
    started = time.monotonic()
    answer = command(*TRAIN, HF_HOME=str(home / "hf"), NO_PROXY="127.0.0.1", no_proxy="127.0.0.1", **environment)
    seconds = time.monotonic() - started
    assert answer.returncode == 5, answer.stderr
    assert seconds < LIMIT
    assert "Traceback" not in answer.stderr and answer.stdout == ""
    (message,) = [line for line in answer.stderr.splitlines() if line.startswith("mammozoo: ")]
    assert "resnet18" in message and "file:PATH" in message and "zoo:NAME" in message and "random" in message
    assert not (home / "run").exists()
    return message


def test_nobody_listens(mammozoo: Command, tmp_path: Path, closed: str) -> None:
    message = refused(mammozoo, tmp_path, HF_HUB_OFFLINE="0", HF_ENDPOINT=closed)
    assert f"The Hub at {closed} does not answer" in message


def test_nobody_answers(mammozoo: Command, tmp_path: Path, silent: str) -> None:
    message = refused(mammozoo, tmp_path, HF_HUB_OFFLINE="0", HF_ENDPOINT=silent)
    assert f"The Hub at {silent} does not answer" in message


def test_told_to_stay_offline(mammozoo: Command, tmp_path: Path, silent: str) -> None:
    assert "HF_HUB_OFFLINE is set" in refused(mammozoo, tmp_path, HF_HUB_OFFLINE="1", HF_ENDPOINT=silent)


@pytest.mark.parametrize("server", ["closed", "silent", "trickling", "stranger"])
def test_the_question_itself(server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", request.getfixturevalue(server))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="does not answer"):
        check_reachable()
    assert time.monotonic() - started < PATIENCE + 1


def test_a_hub_that_answers(half_dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", half_dead)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    check_reachable()
