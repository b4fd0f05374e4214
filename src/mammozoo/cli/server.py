"""The page and the answers of `mammozoo serve`; apart from the command, so that other commands do not import an HTTP server."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mammozoo import api
from mammozoo.cli.output import figure
from mammozoo.errors import MammozooError, UsageError, reason

if TYPE_CHECKING:
    from mammozoo.evaluation.predict import Prediction

HERE = "127.0.0.1"
LARGEST = 64 * 2**20  #: bytes of an image
_ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_PATIENCE = 30  # seconds for a request to arrive


def make_server(classifier: api.Classifier, port: int) -> ThreadingHTTPServer:
    """A server on loopback that answers for one model; UsageError if the port is taken."""
    handler = type("Handler", (_Handler,), {"classifier": classifier, "turn": threading.Lock()})
    try:
        return _Server((HERE, port), handler)
    except OSError as error:
        raise UsageError(
            f"Port {port} cannot be used: {error.strerror}. Choose another --port, or 0 for a free one."
        ) from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows two servers would share a port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of what went wrong here; a browser that goes away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers requests that this computer's browser makes for this page, and no others."""

    classifier: api.Classifier
    turn: threading.Lock  # one image at a time
    timeout = _PATIENCE
    server_version, sys_version = "mammozoo", ""

    def do_GET(self) -> None:
        """The page."""
        if self._is_own() and (self.path == "/" or self._refuse(404, "There is only one page here: /")):
            nonce = secrets.token_urlsafe(16)
            rules = f"default-src 'none'; img-src data:; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
            policy = f"{rules}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            self._send(200, "text/html; charset=utf-8", _page(self.classifier, nonce), policy)

    def do_POST(self) -> None:
        """The answer for the image in the body."""
        own = f"http://{self.headers.get('Host')}"
        if not self._is_own():
            return
        if self.headers.get("Origin") != own or self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            self._refuse(403, "Only the page of this server may send images.")
        elif self.path != "/predict":
            self._refuse(404, "Images go to /predict.")
        elif not (length := self.headers.get("Content-Length", "")).isdecimal():
            self._refuse(411, "The length of the image is not stated.")
        elif int(length) > LARGEST:
            self._refuse(413, f"The image is larger than {LARGEST // 2**20} MB.")
        else:
            try:
                content = self.rfile.read(int(length))
                with self.turn:
                    found = answer(self.classifier, content, unquote(self.headers.get("X-Name", "")))
            except TimeoutError:
                self._refuse(408, "The image did not arrive in time.")
            except Exception as error:  # of a library too: the page says so, and the next image has its answer
                self._refuse(400 if isinstance(error, MammozooError) else 500, reason(error))
            else:
                self._send(200, "application/json", json.dumps(found))

    def _is_own(self) -> bool:
        """Whether the request names this computer: a page elsewhere whose name now leads here (DNS rebinding) does not."""
        port = self.connection.getsockname()[1]
        end = "" if port == 80 else f":{port}"  # browsers leave the usual port out
        return self.headers.get("Host") in (f"{HERE}{end}", f"localhost{end}") or self._refuse(
            403, f"This server answers at http://{HERE}:{port}/ only."
        )

    def _refuse(self, code: int, sentence: str) -> bool:
        self.close_connection = True
        self._send(code, "application/json", json.dumps({"error": sentence}))
        return False

    def _send(self, code: int, kind: str, text: str, policy: str = "default-src 'none'") -> None:
        content = text.encode()
        self.send_response(code)
        own = {"Content-Type": kind, "Content-Length": str(len(content)), "Content-Security-Policy": policy}
        for name, value in (own | _ALWAYS).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Names of images are nobody's business."""


def answer(classifier: api.Classifier, content: bytes, name: str) -> dict[str, Any]:
    """What the model says of an image file: label, probabilities, sentences, warnings and pictures, or `error`.

    `name` is what the file is called; only its suffix counts. The file lies in a folder of its own while it is read.
    """
    from mammozoo.data.io.images import IMAGE_SUFFIXES, read_image
    from mammozoo.evaluation.explain import heat, overlay

    suffix = PurePosixPath(name).suffix.lower()
    shown = PurePosixPath(name.replace("\\", "/")).name[:80] or "image"
    with tempfile.TemporaryDirectory(prefix="mammozoo-serve-") as folder:
        path = Path(folder) / f"image{suffix if suffix in IMAGE_SUFFIXES else ''}"
        path.write_bytes(content)
        (found,) = classifier.predict(path)
        if found.error is not None or found.probabilities is None:
            return {"error": (found.error or "The model gives no answer.").replace(str(path), shown)}
        pixels = classifier.config.input.preparer()(read_image(path), None)
    warm = overlay(pixels, heat(classifier.model, classifier.config, pixels, classifier.engine))
    pictures = {
        "What the model sees": _address(pixels),
        "Where its decision comes from (Grad-CAM, coarse)": _address(warm),
    }
    return {
        "label": found.label, "probabilities": found.probabilities, "threshold": found.threshold, "said": _said(classifier, found),
        "warnings": found.warnings, "pictures": pictures,
    }  # fmt: skip


def _said(classifier: api.Classifier, found: Prediction) -> list[str]:
    """What the numbers mean, and how good the model was where it was tested."""
    positive = classifier.classes[-1]
    said = ["The numbers are the output of a network: no finding, and not the risk of this patient."]
    if found.threshold is not None:
        said.append(f"From {found.threshold:.3f} on it says {positive}.")
    auc = classifier.config.scores.get("auc", {})
    if (value := auc.get("value")) is not None:
        score = f"{figure(value, auc.get('low'), auc.get('high'))}, in brackets the 95 % interval"
        of = classifier.config.scores_of  # of a model without test images of its own
        said.append(f"{of} AUC {score}." if of else f"On its {auc.get('n')} test images its AUC was {score}.")
    return said


def _page(classifier: api.Classifier, nonce: str) -> str:
    from jinja2 import Environment

    config, card = classifier.config, classifier.folder / "README.md"
    text = card.read_text("utf-8", "replace") if card.is_file() else "This model has no card."
    return Environment(autoescape=True).from_string(files("mammozoo.cli").joinpath("serve.html").read_text("utf-8")).render(
        name=config.name, use=config.intended_use, stamps=config.stamps, nonce=nonce,
        card=re.sub(r"\A---\n.*?\n---\n+", "", text, flags=re.DOTALL),  # without what the Hub reads
    )  # fmt: skip


def _address(pixels: Any) -> str:
    """(h, w, 1 or 3) uint8 as a PNG in a `data:` address."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
