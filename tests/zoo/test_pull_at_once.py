"""Pulling in company: several processes, a kill, a full disk, a disk without links; and what a pull shows and asks."""

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
from typing import Any

import pytest
from far import CONTENT, Far, refused

from mammozoo.files import locked, size_of

from ..helpers import flip


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


def test_a_folder_of_another_pull_that_goes_while_it_is_counted_ends_nobody(tmp_path, monkeypatch) -> None:
    for place in ("pull-a/1", "pull-b/1"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_bytes(bytes(100))
    scandir = os.scandir

    def just_too_late(folder):
        if not isinstance(folder, int) and Path(folder).parent == tmp_path / "pull-b":  # its owner is done
            shutil.rmtree(tmp_path / "pull-b")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", just_too_late)
    assert size_of(tmp_path) == 100


def test_a_process_that_is_stuck_holds_nobody_up(far: Far, with_hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("mammozoo.zoo.pull.locked", functools.partial(locked, patience=0.2))
    with locked(far.snapshot(tmp_path / "hf").parents[1] / ".mammozoo" / f"{far.commit}.lock") as held:
        assert held and with_hub("zoo", "pull", "far").ok


def test_a_kill_in_the_middle(far: Far, with_hub, tmp_path) -> None:
    far.hub.fault("GET /blob/", "stall", times=1)
    process = start(far, tmp_path / "hf")
    for _ in range(200):
        # `rglob` raises for a folder that goes while it looks, as the download's do.
        begun = any(name.endswith(".incomplete") for _, _, names in os.walk(tmp_path / "hf") for name in names)
        if begun and far.hub.asked("^cdn GET"):
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
