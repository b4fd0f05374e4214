"""`mammozoo serve`: who is answered, what is answered, and that nothing is kept."""

import dataclasses
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mammozoo import api
from mammozoo.cli import server as serve

Ask = Callable[..., tuple[int, dict[str, str], Any]]


@pytest.fixture(scope="module")
def classifier(tiny_run) -> api.Classifier:
    return api.load(tiny_run.path, device="cpu")


@pytest.fixture
def port(classifier) -> Iterator[int]:
    server = serve.make_server(classifier, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ask(port: int) -> Ask:
    def asked(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        own = {"Host": f"127.0.0.1:{port}"} | ({"Origin": f"http://127.0.0.1:{port}"} if method == "POST" else {})
        given = own | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {name: value for name, value in given.items() if value})
        reply = connection.getresponse()
        content = reply.read().decode()
        kind = reply.headers["Content-Type"]
        connection.close()
        return reply.status, dict(reply.headers), json.loads(content) if "json" in kind else content

    return asked


def test_an_image_has_the_answer_of_predict_and_is_not_kept(ask: Ask, classifier, pictures: Path) -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    for picture in sorted(pictures.iterdir())[:2]:
        status, headers, found = ask("POST", "/predict", picture.read_bytes(), X_Name="a%20b.png")
        (direct,) = classifier.predict(picture)
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert found["label"] == direct.label
        assert found["probabilities"] == pytest.approx(direct.probabilities)
        assert all(address.startswith("data:image/png;base64,") for address in found["pictures"].values())
        assert "no finding" in found["said"][0] and "95 % interval" in found["said"][-1]
    assert not [path for path in set(Path(tempfile.gettempdir()).iterdir()) - before if "serve" in path.name]


def test_scores_of_other_models_are_not_called_its_own(classifier, pictures: Path) -> None:
    (found,) = classifier.predict(next(pictures.iterdir()))
    of = "Scores of five models. This one has seen all images."
    others = dataclasses.replace(classifier, config=classifier.config.model_copy(update={"scores_of": of}))
    assert "On its" in serve._said(classifier, found)[-1]
    assert serve._said(others, found)[-1].startswith(f"{of} AUC 0.")


def test_the_card_is_shown_without_its_front_matter(ask: Ask, classifier) -> None:
    card = (classifier.folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name:")
    page = ask("GET", "/")[2]
    assert "## Scores" in page and "library_name" not in page


def test_a_server_that_is_stopped_ends_as_by_ctrl_c(tiny_run, tmp_path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "mammozoo", "serve", "--model", str(tiny_run.path), "--port", "0", "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert server.stdout and "http://127.0.0.1:" in server.stdout.readline()
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0, "as Ctrl-C does"
    server.stdout.close()


def test_what_is_no_image_is_one_sentence(ask: Ask, pictures: Path, tmp_path) -> None:
    whole = next(pictures.iterdir()).read_bytes()
    for content, name in (
        (b"", "x.png"),
        (b"no image", "../../x.docx"),
        (whole[:200], "%3Cb%3E.png"),
        (b"\0" * 200, "x.dcm"),
    ):
        status, _, found = ask("POST", "/predict", content, X_Name=name)
        assert status == 200 and set(found) == {"error"} and "\n" not in found["error"]
        assert "/tmp" not in found["error"] and "mammozoo-serve" not in found["error"]
    assert ask("POST", "/predict", whole, X_Name="x.png")[2]["label"]  # and goes on


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"Host": "evil.example"}, 403),  # a name that was made to lead here
        ("GET", "/", {"Host": "evil.example:8765"}, 403),
        ("POST", "/predict", {"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ("POST", "/predict", {"Origin": "http://evil.example"}, 403),  # a form or script of another page
        ("POST", "/predict", {"Origin": "null"}, 403),
        ("POST", "/predict", {"Origin": ""}, 403),
        ("POST", "/predict", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("POST", "/predict", {"Content_Length": str(serve.LARGEST + 1)}, 413),
        ("POST", "/predict", {"Content_Length": "-1"}, 411),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", "/predict", {}, 404),
        ("POST", "/other", {}, 404),
        ("PUT", "/predict", {}, 501),
        ("OPTIONS", "/predict", {"Origin": "http://evil.example"}, 501),
    ],
)  # fmt: skip
def test_who_is_not_answered(ask: Ask, method: str, path: str, headers: dict[str, str], status: int) -> None:
    got, answered, found = ask(method, path, b"" if method == "POST" else None, **headers)
    assert got == status
    assert "Access-Control-Allow-Origin" not in answered
    assert status == 501 or "\n" not in found["error"]


def test_it_listens_on_loopback_alone_and_says_when_a_port_is_taken(port: int, classifier, command) -> None:
    assert serve.HERE == "127.0.0.1"
    with pytest.raises(serve.UsageError, match="--port"):
        serve.make_server(classifier, port)
    command("serve", "--model", "nowhere").refused(3, "'nowhere'")


def test_the_page_in_a_browser(port: int, pictures: Path, tmp_path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("needs a Chromium on the PATH")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page, wrong = browser.new_page(), []
        page.on("console", lambda message: wrong.append(message.text))
        own = ("data:", f"http://127.0.0.1:{port}/")
        page.on("request", lambda request: request.url.startswith(own) or wrong.append(request.url))
        page.goto(f"http://127.0.0.1:{port}/")
        assert "Research only" in page.inner_text(".use") and "not a medical device" in page.inner_text("body").lower()
        page.set_input_files("#file", next(iter(sorted(pictures.iterdir()))))
        page.wait_for_selector("#answer figure:nth-of-type(2) img")
        assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        page.set_input_files("#file", tmp_path / "bad.png")
        page.wait_for_selector("#answer .error")
        assert "bad.png" in page.inner_text("#answer .error")
        browser.close()
    assert wrong == []
