"""A Hub on this machine, for tests: what huggingface_hub asks of the real one, with faults on demand and a log of requests.

Two ports are two origins: one for the API, one (the "CDN") for the blobs of large files. The second refuses a
request that carries a token. Left out: xet, pull requests, uploads in parts, data sets and spaces.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hub_api
from hub_store import TOKENS, Answer, RefusalError, Repo, Request, Stored, is_large


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD path" matches `pattern` (a regular expression).

    status        that status, without an error code          silent        no answer at all
    drop          the connection ends after `value` bytes      strip         the header `value` is missing
    corrupt       one bit of the body is flipped               call          `value()` first, then the usual answer
    stall         half of the body, then nothing more
    """

    pattern: str
    kind: str
    value: Any = None
    times: int = 10**9


class Hub:
    """The server; `requests` and `crashes` are what tests look at afterwards."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.grants: set[str] = set()
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.crashes: list[str] = []
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        self._servers = [_Server(self, port) for port in ("api", "cdn")]
        #: Where the API is, and the origin of blobs and uploads.
        self.endpoint, self.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def token(self, user: str = "alice") -> str:
        """A user's token: alice may write to `lab`, bob may not."""
        return next(token for token, name in TOKENS.items() if name == user)

    def publish(
        self, name: str, files: Mapping[str, bytes | str], *, private: bool = False, gated: bool = False, tag: str = ""
    ) -> str:
        """Put files into a repository (made where there is none) without any request; the commit's id."""
        repo = self.repos.setdefault(name, Repo(name))
        repo.private, repo.gated = private, gated
        contents = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        new = {path: Stored(data, is_large(path, data[:512])) for path, data in contents.items()}
        self.blobs |= {file.sha256: file.data for file in new.values() if file.large}
        commit = repo.commit("main", "published by a test", {**repo.at("main").tree, **new})
        if tag:
            repo.tags[tag] = commit
        return commit

    def fault(self, *given: Any, **named: Any) -> None:
        """Let something go wrong; see Fault."""
        self.faults.append(Fault(*given, **named))

    def asked(self, pattern: str) -> list[Request]:
        return [request for request in self.requests if re.search(pattern, str(request))]

    def environment(self, home: Path, user: str | None = None) -> dict[str, str]:
        """Variables for a process that is to use this Hub; `home` becomes its HF_HOME."""
        return {
            "HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": self.token(user) if user else "",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
        }  # fmt: skip

    def stop(self) -> None:
        """Close both ports and every connection: clients go on over a connection whose server no longer listens."""
        self.stopped.set()
        for server in self._servers:
            server.stop()

    def take(self, words: str, *kinds: str) -> Fault | None:
        """The first fault of these kinds that holds for a request, counted down."""
        with self.lock:
            for fault in self.faults:
                if fault.kind in kinds and fault.times > 0 and re.search(fault.pattern, words):
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub, port: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.port = hub, port
        self.connections: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no fault of ours; anything else was recorded by the handler."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Requests are kept in `Hub.requests` instead."""

    def _handle(self) -> None:
        hub, url = self.server.hub, urlsplit(self.path)
        words = self.headers.get("Authorization", "")
        request = Request(self.server.port, self.command, url.path, parse_qs(url.query), bool(words))
        body = self._body()
        with hub.lock:
            hub.requests.append(request)
        what = f"{request.method} {request.path}"
        if hub.take(what, "silent"):
            hub.stopped.wait(120)
            self.close_connection = True
            return
        if call := hub.take(what, "call"):
            call.value()
        if status := hub.take(what, "status"):
            self._send(Answer.json({"error": "a fault of the test"}, status.value), what)
            return
        try:
            user = TOKENS.get(words.removeprefix("Bearer ")) if words else None
            if words and request.port == "api" and user is None:
                raise RefusalError(401, "Invalid credentials in Authorization header")
            answer = hub_api.api(hub, request, body, user) if request.port == "api" else hub_api.cdn(hub, request, body)
        except RefusalError as refusal:
            answer = Answer.json({"error": refusal.message}, refusal.status)
            answer.headers |= {"X-Error-Message": refusal.message, **refusal.more}
            answer.headers |= {"X-Error-Code": refusal.code} if refusal.code else {}
        except Exception as error:
            hub.crashes.append(f"{what}: {error!r}")
            answer = Answer.json({"error": repr(error)}, 500)
        self._send(answer, what)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the library's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, answer: Answer, what: str) -> None:
        hub, body = self.server.hub, answer.body
        if strip := hub.take(what, "strip"):
            answer.headers.pop(strip.value, None)
        if body and hub.take(what, "corrupt"):
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and "Accept-Ranges" in answer.headers:
            body = self._part(answer, body, asked)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault := hub.take(what, "drop", "stall"):
            end = fault.value if fault.value is not None else len(body) // 2
            self.wfile.write(body[:end])
            self.wfile.flush()
            if fault.kind == "stall":
                hub.stopped.wait(120)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(body)

    def _part(self, answer: Answer, body: bytes, asked: re.Match[str]) -> bytes:
        start, end = int(asked[1]), min(int(asked[2] or len(body) - 1), len(body) - 1)
        answer.status = 206
        answer.headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        return body[start : end + 1]
