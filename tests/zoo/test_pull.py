"""Pulling with the real client from a Hub on this machine: what is asked, what is kept, and every way in which it fails."""

import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from far import CONTENT, Far

from mammozoo.files import locked

from ..helpers import flip


@pytest.fixture
def far(hub, tmp_path, monkeypatch) -> Far:
    made = Far(hub, tmp_path / "zoo")
    made.publish()
    monkeypatch.setenv("MAMMOZOO_ZOO", str(made.folder))
    return made


def refused(answer: Any, code: int, *words: str) -> None:
    answer.refused(code, *words)
    assert answer.out == ""


def test_pull_then_nothing_more(far: Far, with_hub, tmp_path) -> None:
    answer = with_hub("zoo", "pull", "far", user="alice")
    folder = far.snapshot(tmp_path / "hf")
    assert answer.code == 0, answer.err
    assert answer.out.strip() == str(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT, "listed files, and no other"
    assert far.hub.asked("^api .*revision") and all(request.token for request in far.hub.asked("^api .*revision"))
    assert far.hub.asked("^cdn") and not any(request.token for request in far.hub.asked("^cdn"))
    assert not far.hub.asked("bin|modeling|agent-harnesses")
    assert not list((tmp_path / "hf").rglob("*.incomplete"))

    far.hub.requests.clear()
    assert with_hub("zoo", "pull", "far").out == answer.out
    assert far.hub.requests == [], "what is there is not asked for"
    assert "right" in with_hub("zoo", "verify", "far", "--remote").out
    assert len(far.hub.requests) == 1
    assert "pulled" in with_hub("zoo", "list").out


def test_a_reference_without_a_zoo(far: Far, with_hub, tmp_path) -> None:
    reference = f"hub:lab/far@{far.commit}"
    answer = with_hub("zoo", "pull", reference).ok
    assert "No zoo entry vouches" in answer.err
    assert {path.name for path in far.snapshot(tmp_path / "hf").iterdir()} == set(CONTENT)
    far.hub.requests.clear()
    assert with_hub("zoo", "pull", reference, HF_HUB_OFFLINE="1").code == 0
    assert far.hub.requests == []
    (far.snapshot(tmp_path / "hf") / "config.json").write_bytes(b'{"mammozoo": 1}')
    refused(with_hub("zoo", "pull", reference, HF_HUB_OFFLINE="1"), 6, "damaged")
    assert with_hub("zoo", "pull", reference).code == 0
    refused(with_hub("zoo", "pull", "hub:lab/far@main"), 2, "full id", "40 hexadecimal digits")
    refused(with_hub("zoo", "pull", f"hub:lab/other@{far.commit}"), 4, "no public model 'lab/other'")


def test_damaged_once_then_right(far: Far, with_hub, tmp_path) -> None:
    far.hub.fault("GET /blob/", "corrupt", times=1)
    answer = with_hub("zoo", "pull", "far").ok
    assert "arrived damaged" in answer.err
    assert (far.snapshot(tmp_path / "hf") / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]


@pytest.mark.parametrize("kind", ["stall", "drop"])
def test_an_interruption_is_got_over(far: Far, with_hub, tmp_path, kind: Literal["stall", "drop"]) -> None:
    far.hub.fault("GET /blob/", kind, 10**6, times=1)
    assert with_hub("zoo", "pull", "far", HF_HUB_DOWNLOAD_TIMEOUT="1").code == 0
    assert (far.snapshot(tmp_path / "hf") / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]


def test_damaged_twice(far: Far, with_hub, tmp_path) -> None:
    far.hub.fault("GET /blob/", "corrupt")
    refused(with_hub("zoo", "pull", "far"), 6, "damaged twice", "Nothing of it was kept")
    assert not list((tmp_path / "hf").rglob("model.safetensors"))
    assert len(far.hub.asked("^cdn GET")) == 2
    far.hub.faults.clear()
    assert with_hub("zoo", "pull", "far").code == 0


def test_bit_rot_in_the_cache_and_remove(far: Far, with_hub, tmp_path) -> None:
    assert with_hub("zoo", "pull", "far").code == 0
    weights = far.snapshot(tmp_path / "hf") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    refused(with_hub("zoo", "pull", "far", HF_HUB_OFFLINE="1"), 6, "HF_HUB_OFFLINE is set")
    assert "mammozoo zoo pull far" in with_hub("zoo", "verify", "far").err
    assert with_hub("zoo", "pull", "far").code == 0
    assert weights.read_bytes() == CONTENT["model.safetensors"]
    assert with_hub("zoo", "pull", "far").code == 0
    assert "far: 2.05 MB freed" in with_hub("zoo", "rm", "far").err
    assert not list((tmp_path / "hf" / "hub").rglob("blobs/*"))
    assert "was not there" in with_hub("zoo", "rm", "far").err
    refused(with_hub("zoo", "rm", "busi-resnet9"), 2, "comes with package mammozoo_resnet9")


def test_nothing_is_downloaded_unasked_or_where_nobody_listens(far: Far, with_hub) -> None:
    refused(with_hub("predict", "--example", "--model", "far"), 3, "mammozoo zoo pull far")
    assert far.hub.requests == []
    far.hub.stop()
    refused(with_hub("zoo", "pull", "far"), 5, far.hub.endpoint, "efused")


Fault = tuple[str, str, Any]
#: What the Hub does, as whom it is asked, the exit code, and words of the message.
FAILURES: dict[str, tuple[list[Fault], dict[str, str | None], int, tuple[str, ...]]] = {
    "never answers": ([(".", "silent", None)], {}, 5, ("nothing within 5 seconds", "HF_HUB_OFFLINE=1")),
    "never answers about the file": ([("HEAD .*/resolve/", "silent", None)], {}, 5, ("nothing within 5 seconds",)),
    "503": ([("/api/models/", "status", 503)], {}, 5, ("it answered 503",)),
    "429": ([("/api/models/", "status", 429)], {}, 5, ("it answered 429",)),
    "500 on the weights": ([("GET /blob/", "status", 500)], {}, 5, ("'model.safetensors' of 'lab/far'", "500")),
    "403": ([("/api/models/", "status", 403)], {}, 4, ("403",)),
    "a token that is none": ([], {"HF_TOKEN": "hf_nobodys"}, 4, ("HF_TOKEN", "401", "public models need none")),
    "a proxy that eats headers": ([("HEAD .*/resolve/", "strip", "X-Repo-Commit")], {}, 5, ("did not give",)),
    "dropped for ever": ([("GET /blob/", "drop", 1000)], {}, 5, ("'model.safetensors' of 'lab/far'",)),
    "offline": ([], {"HF_HUB_OFFLINE": "1"}, 5, ("HF_HUB_OFFLINE is set", "zoo export", "MAMMOZOO_ZOO")),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_failures(far: Far, with_hub, tmp_path, case: str) -> None:
    faults, more, code, words = FAILURES[case]
    for pattern, kind, value in faults:
        far.hub.fault(pattern, kind, value)  # type: ignore[arg-type]
    started = time.monotonic()
    refused(with_hub("zoo", "pull", "far", **more), code, *words)
    assert time.monotonic() - started < 40
    assert not (far.snapshot(tmp_path / "hf") / "model.safetensors").exists()
    assert not list((tmp_path / "hf").rglob("*.incomplete"))


@pytest.mark.parametrize(
    ("how", "user", "code", "words"),
    [
        ({"private": True}, None, 4, "If it is private, log in first"),
        ({"private": True}, "bob", 3, "that your token may see"),
        ({"gated": True}, None, 4, "asks for access first"),
        ({"gated": True}, "bob", 4, "asks for access first"),
    ],
)
def test_not_for_everybody(far, with_hub, how: dict[str, bool], user: str | None, code: int, words: str) -> None:
    far.publish(**how)
    refused(with_hub("zoo", "pull", "far", user=user), code, words, "lab/far")


def test_what_the_hub_has_is_another_thing(far: Far, with_hub, tmp_path) -> None:
    other = far.entry["files"] | {"model.safetensors": {"sha256": "0" * 64, "size": len(CONTENT["model.safetensors"])}}
    far.write(files=other)
    refused(with_hub("zoo", "pull", "far"), 6, "not the file that the zoo promises", "Nothing was downloaded")
    assert not far.hub.asked("resolve|blob"), "seen before anything was downloaded"
    far.write(files=far.entry["files"] | {"LICENSE": {"sha256": "0" * 64, "size": 1}})
    refused(with_hub("zoo", "pull", "far"), 3, "no file 'LICENSE'")
    far.write(source={"hub": "lab/far", "revision": "b" * 40})
    refused(with_hub("zoo", "pull", "far"), 3, "has no commit", "rewritten")
    far.write(withdrawn="it was trained on test images")
    refused(with_hub("zoo", "pull", "far"), 3, "withdrawn: it was trained on test images")
    answer = with_hub("zoo", "pull", f"hub:lab/far@{far.commit}")
    refused(answer, 3, "withdrawn: it was trained on test images")
    far.write(requires=">=99")
    refused(with_hub("zoo", "pull", "far"), 7, "needs mammozoo >=99")
    refused(with_hub("zoo", "pull", "fra"), 3, "Did you mean 'far'?")


# ---------------------------------------------------------------- two at once, a kill, a full disk


def start(far: Far, home: Path, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mammozoo", "zoo", "pull", "far"], env=os.environ | far.hub.environment(home),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


#: Six processes, which pull together for each line of the input; who is done looks again until the last one is.
SIX = """
import multiprocessing, sys, time
import huggingface_hub.hf_api
from mammozoo import files
from mammozoo.zoo.registry import listed, pull_model
from mammozoo.zoo.verify import verify

context = multiprocessing.get_context("fork")  # the imports take longer than everything else
together, mode, done = context.Barrier(7), context.Value("b"), context.Value("i")

def work():
    fcntl, model, turn = files.fcntl, listed("far"), 0
    while True:
        turn += 1
        together.wait()
        files.fcntl = fcntl if mode.value else None
        pull_model("far")
        with done.get_lock():
            done.value += 1
        while done.value < 6 * turn:
            verify(model)
            time.sleep(0.01)
        together.wait()

def whole():
    try:
        work()
    except BaseException:
        together.abort()
        raise

for _ in range(6):
    context.Process(target=whole, daemon=True).start()
for line in iter(sys.stdin.readline, ""):
    mode.value = line == "locks\\n"
    together.wait()
    together.wait()
    print("pulled", flush=True)
"""


def test_six_at_once_that_all_found_the_files_missing(far: Far, tmp_path) -> None:
    """Nobody's checked model is taken away by one who comes later, not even without locks or where a file was damaged."""
    home, weights = tmp_path / "hf", far.snapshot(tmp_path / "hf") / "model.safetensors"
    asked = threading.Barrier(6, timeout=60)
    far.hub.fault("GET /api/models/.*/revision/", "call", asked.wait)
    six = subprocess.Popen(
        [sys.executable, "-c", SIX], env=os.environ | far.hub.environment(home), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert six.stdin and six.stdout
    for locks, damage, downloads in (
        ("locks", lambda: None, range(1, 2)),
        ("locks", lambda: flip(weights), range(1, 2)),
        ("none", lambda: shutil.rmtree(home / "hub"), range(1, 10)),
    ):
        damage()
        far.hub.requests.clear()
        if locks == "none":
            far.hub.fault("GET /blob/", "corrupt", times=1)
        six.stdin.write(f"{locks}\n")
        six.stdin.flush()
        assert six.stdout.readline() == "pulled\n", six.communicate()[1]
        assert len(far.hub.asked("^cdn GET")) in downloads
        assert {p.name: p.read_bytes() for p in far.snapshot(home).iterdir()} == CONTENT
    six.communicate(timeout=60)
    assert not list(home.rglob("*.incomplete")) and not list(home.rglob("pull-*"))


def test_a_large_reference_shows_its_size_and_asks_on_a_terminal(
    far: Far, with_hub, hub_here, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("mammozoo.zoo.pull.MUCH", 10**6)
    reference, asked = f"hub:lab/far@{far.commit}", []
    monkeypatch.setattr("mammozoo.cli._ask", lambda question: bool(asked.append(question)))
    with monkeypatch.context() as terminal:
        for stream in ("stdin", "stderr"):
            terminal.setattr(f"sys.{stream}.isatty", lambda: True)
        for words in (("zoo", "pull", reference), ("predict", "--example", "--model", reference)):
            answer = with_hub(*words)
            assert answer.code == 1 and "was not fetched" in answer.err and "2.0 MB" in answer.err
        assert len(asked) == 2 and not far.hub.asked("resolve|cdn")
        assert with_hub("zoo", "pull", reference, "--yes", home="yes").ok
    assert "3 files of it, 2.0 MB" in with_hub("zoo", "pull", reference).ok.err and len(asked) == 2
    assert "Getting" not in with_hub("zoo", "pull", reference).ok.err


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("# far\n\n## Licence\n\nWeights, version 1: MIT. Data `busi`: research.\n", "MIT. Data `busi`: research."),
        ("---\ntags: [x]\nlicense: cc-by-4.0\n---\n# far\n", "cc-by-4.0"),
        ("# far\n\n## Licence\n\n\x1b[2JMIT\n", ": [2JMIT"),
        ("# far\n", "states no licence"),
    ],
)
def test_licence_and_terms_are_shown(far: Far, with_hub, card: str, words: str) -> None:
    far.publish(CONTENT | {"README.md": card.encode()})
    far.write(license="mit", data_terms="ask the owner")
    assert words in with_hub("zoo", "pull", f"hub:lab/far@{far.commit}").ok.err
    told = with_hub("zoo", "pull", "far").ok
    assert "Weights: mit. Data: ask the owner" in told.err and "MB" in told.err


@pytest.mark.parametrize("how", ["links are off", "copied without links"])
def test_a_reference_on_a_disk_without_links(far: Far, with_hub, tmp_path, monkeypatch, how: str) -> None:
    reference = f"hub:lab/far@{far.commit}"
    if how == "links are off":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", True)
    assert with_hub("zoo", "pull", reference).ok
    home = tmp_path / "hf"
    if how != "links are off":
        home = Path(shutil.copytree(home, tmp_path / "copied"))  # as onto a stick: links become files
    folder = far.snapshot(home)
    assert not any(path.is_symlink() for path in folder.iterdir())
    far.hub.requests.clear()
    offline = {"home": home.name, "HF_HUB_OFFLINE": "1"}
    assert with_hub("zoo", "pull", reference, **offline).ok.out.strip() == str(folder)
    flip(folder / "model.safetensors")
    refused(with_hub("zoo", "pull", reference, **offline), 6, "damaged")
    assert not far.hub.requests
    assert with_hub("zoo", "pull", reference, home=home.name).ok
    assert with_hub("zoo", "pull", "far", **offline).ok
    assert "freed" in with_hub("zoo", "rm", reference, home=home.name).err and not folder.exists()
    refused(with_hub("zoo", "pull", reference, **offline), 5, "not on this machine")


def test_another_commit_with_the_same_weights_costs_no_second_download(far: Far, with_hub, tmp_path) -> None:
    assert with_hub("zoo", "pull", "far").ok
    far.publish(CONTENT | {"README.md": b"# other\n"})
    far.hub.requests.clear()
    assert with_hub("zoo", "pull", "far").ok
    assert not far.hub.asked("^cdn") and far.hub.asked("README")
    assert (far.snapshot(tmp_path / "hf") / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]


def test_a_process_that_is_stuck_holds_nobody_up(far: Far, with_hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("mammozoo.zoo.pull.locked", functools.partial(locked, patience=0.2))
    with locked(far.snapshot(tmp_path / "hf").parents[1] / ".mammozoo" / f"{far.commit}.lock") as held:
        assert held and with_hub("zoo", "pull", "far").ok


def test_a_kill_in_the_middle(far: Far, with_hub, tmp_path) -> None:
    far.hub.fault("GET /blob/", "stall", times=1)
    process = start(far, tmp_path / "hf")
    for _ in range(200):
        if list((tmp_path / "hf").rglob("*.incomplete")) and far.hub.asked("^cdn GET"):
            break
        time.sleep(0.1)
    assert "0 left-over files" in with_hub("zoo", "clean").err, "a download that goes on is left alone"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (far.snapshot(tmp_path / "hf") / "model.safetensors").exists()
    assert "not pulled" in with_hub("zoo", "list").out
    assert "1 left-over files removed" in with_hub("zoo", "clean").err
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert with_hub("zoo", "pull", "far").code == 0


def test_a_full_disk(far: Far, with_hub, tmp_path) -> None:
    limit = 10**6  # bytes of a file: as a disk on which the weights do not fit
    process = start(far, tmp_path / "hf", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "No space left" in err and "HF_HOME" in err and "Traceback" not in err
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert with_hub("zoo", "pull", "far").code == 0
