"""From a run to the Hub, from there to another machine, and the same numbers come out. With the real client, in real processes.

`MAMMOZOO_TEST_HUB="ENDPOINT TOKEN NAMESPACE"` runs the first test against a real endpoint as well, in a private repository
that is deleted in the end.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub

import mammozoo
from mammozoo import plugins
from mammozoo.files import sha256
from mammozoo.training.experiment import train
from mammozoo.zoo.entry import read_zoo
from mammozoo.zoo.registry import find_model

from ..helpers import Answer, python, tiny

EXAMPLE = Path(mammozoo.__file__).parent / "example.png"
PUBLISH = ("--license", "Apache-2.0", "--allow-stamped", "--yes")


@dataclass
class TrainState:
    """A Hub and a repository on it; `environment(home)` is what a process needs to use it."""

    endpoint: str
    token: str
    repository: str
    folder: Path

    def run(self, home: str, *words: object, **more: str) -> Answer:
        """mammozoo on a machine whose caches are in `home`."""
        environment = {
            "HF_ENDPOINT": self.endpoint, "HF_TOKEN": self.token, "HF_HOME": str(self.folder / home), "HF_HUB_OFFLINE": "0",
            "MAMMOZOO_CACHE": str(self.folder / home / "cache"), "MAMMOZOO_ZOO": "", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        answer = python("-m", "mammozoo", *words, cwd=self.folder, **environment | more).ok
        assert self.token not in answer.out + answer.err
        return answer


@pytest.fixture(params=["local", "real"])
def place(request, tmp_path) -> Iterator[TrainState]:
    if request.param == "local":
        hub: Hub = request.getfixturevalue("hub")
        yield TrainState(hub.endpoint, hub.token("alice"), "lab/tiny", tmp_path)
        return
    if not (told := os.environ.get("MAMMOZOO_TEST_HUB")):
        pytest.skip("needs a real endpoint: set MAMMOZOO_TEST_HUB to 'ENDPOINT TOKEN NAMESPACE'")
    endpoint, token, namespace = told.split()
    place = TrainState(endpoint, token, f"{namespace}/mammozoo-test-{secrets.token_hex(4)}", tmp_path)
    yield place
    delete = "import sys, huggingface_hub as h; h.HfApi(endpoint=sys.argv[1]).delete_repo(sys.argv[2], missing_ok=True)"
    environment = {"HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}
    assert python("-c", delete, endpoint, place.repository, **environment).ok


def predictions(text: str) -> Any:
    content = json.loads(text)
    return [{key: value for key, value in row.items() if key != "model"} for row in content["results"]]


def test_push_pull_predict(place: TrainState, tiny_run, command, tmp_path) -> None:
    zoo = tmp_path / "our-zoo" / "zoo.yaml"
    words = ("zoo", "push", tiny_run.path, "--repo", place.repository, "--name", "tiny", "--zoo", zoo, *PUBLISH)
    place.run("here", *words)
    (entry,) = read_zoo(zoo).models
    assert entry.name == "tiny" and entry.files["model.safetensors"].size > 0
    there = {"MAMMOZOO_ZOO": str(zoo.parent)}
    folder = Path(place.run("there", "zoo", "pull", "tiny", **there).out.split()[-1])
    assert folder.is_relative_to(tmp_path / "there")
    assert sha256(folder / "config.json") == entry.files["config.json"].sha256
    # Now without any server.
    nowhere = there | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1", "HF_TOKEN": "none"}
    told = place.run("there", "predict", EXAMPLE, "--model", "tiny", "--device", "cpu", "--json", **nowhere)
    expected = command("predict", EXAMPLE, "--model", tiny_run.path, "--device", "cpu", "--json")
    assert predictions(told.out) == predictions(expected.out)


@pytest.fixture
def our_zoo(tmp_path, monkeypatch) -> Iterator[Path]:
    folder = tmp_path / "our-zoo"
    folder.mkdir()
    (folder / "zoo.yaml").write_text("schema: 1\nmodels: []\n")
    monkeypatch.setenv("MAMMOZOO_ZOO", str(folder))
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path / "cache"))
    plugins.registry.cache_clear()
    yield folder
    plugins.registry.cache_clear()


def test_an_adapter_comes_back_whole(hub, hub_here, our_zoo: Path, command, tmp_path) -> None:
    def done(*words: object) -> None:
        assert command(*words).ok

    base = train(tiny(dataset="phantom:n=60", size=64, strategy="full"), tmp_path / "base-run")
    done("zoo", "push", base.path, "--repo", "lab/base", "--zoo", our_zoo / "zoo.yaml", *PUBLISH)
    done("zoo", "pull", "base")
    drs = train(tiny(dataset="phantom:n=60", size=64, weights="zoo:base", strategy="drs"), tmp_path / "drs-run")
    done("zoo", "push", drs.path, "--repo", "lab/drs", "--as", "adapter", "--zoo", our_zoo / "zoo.yaml", *PUBLISH)

    _, adapter = read_zoo(our_zoo / "zoo.yaml").models
    assert adapter.base.sha256 == sha256(base.path / "model.safetensors")
    assert set(adapter.files) == {"README.md", "config.json", "adapter.safetensors"}
    assert adapter.files["adapter.safetensors"].size < (drs.path / "model.safetensors").stat().st_size / 3
    assert "base_model: lab/base" in hub.repos["lab/drs"].at("main").tree["README.md"].data.decode()

    hub_here("alice", "elsewhere")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    done("zoo", "pull", "drs")
    made = find_model("drs") / "model.safetensors"
    assert made.read_bytes() == (drs.path / "model.safetensors").read_bytes()
    assert sha256(made) == adapter.full_sha256
