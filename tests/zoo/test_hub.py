"""Weights from a Hub that cannot be reached: a clear message, soon, and never random weights instead."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mammozoo.errors import UnreachableError
from mammozoo.zoo import hub as client
from mammozoo.zoo.hub import check_reachable

Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(talk: Talk) -> Iterator[str]:
    """The address of a server that hands each connection to `talk`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connections.append(server.accept()[0])
                    threading.Thread(target=talk, args=(connections[-1],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


def trickle(connection: socket.socket) -> None:
    """Always one more byte, so that no single read ever takes long."""
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            time.sleep(0.1)
            connection.sendall(b"x")


SERVERS: dict[str, Talk] = {
    "silent": lambda connection: None,
    "trickling": trickle,
    "a mail server": lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n"),
}


@pytest.fixture
def at(monkeypatch) -> Callable[[str], None]:
    """Let the client of this process use another address, with a short patience."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    for name, value in {"HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    return lambda address: monkeypatch.setenv("HF_ENDPOINT", address)


@pytest.mark.parametrize("kind", SERVERS)
def test_no_answer(kind: str, at: Callable[[str], None]) -> None:
    with serving(SERVERS[kind]) as address:
        at(address)
        started = time.monotonic()
        with pytest.raises(UnreachableError, match=address):
            check_reachable()
        assert time.monotonic() - started < 3


def test_any_answer_will_do(at: Callable[[str], None]) -> None:
    with serving(
        lambda connection: connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    ) as address:
        at(address)
        check_reachable()


@pytest.mark.parametrize("offline", ["0", "1"])
def test_random_weights_never_stand_in(offline: str, at: Callable[[str], None], command, tmp_path, monkeypatch) -> None:
    with socket.socket() as taken:  # an address at which nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        at(address)
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
        words = ("--dataset", "phantom:n=60", "--backbone", "resnet18", "--weights", "imagenet", "--device", "cpu")
        why = "HF_HUB_OFFLINE is set" if offline == "1" else address
        command("train", *words, "--out", "run").refused(5, why, "resnet18", "file:PATH", "zoo:NAME", "random")
    assert not (tmp_path / "run").exists()
