"""A stretch of work in which no connection can be made, and every try is written down."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock


@contextlib.contextmanager
def offline() -> Iterator[list[str]]:
    """Refuse connections and look-ups of names; gives the list of what was tried, for a plugin may swallow the error."""
    tried: list[str] = []

    def refuse(*where: Any, **_: Any) -> Any:
        tried.append(str(next((part for part in where if not isinstance(part, socket.socket)), "?")))
        raise OSError("mammozoo.testing allows no connection here")

    with (
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket.socket, "connect_ex", refuse),
        mock.patch.object(socket, "create_connection", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse),
    ):
        yield tried
