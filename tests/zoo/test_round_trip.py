"""From a run to the Hub, from there to another machine, and the same numbers come out. With the real client, in real processes."""

import shutil
from pathlib import Path

import pytest

import mammozoo
from mammozoo.files import sha256
from mammozoo.training.experiment import train
from mammozoo.zoo.entry import read_zoo
from mammozoo.zoo.registry import find_model

from ..helpers import Answer, python, tiny

EXAMPLE = Path(mammozoo.__file__).parent / "example.png"
PUBLISH = ("--license", "Apache-2.0", "--allow-stamped", "--yes")


def test_push_pull_predict(hub, tiny_run, command, tmp_path) -> None:
    zoo = tmp_path / "our-zoo" / "zoo.yaml"

    def on(machine: str, *words: object, **more: str) -> Answer:
        """mammozoo on a machine whose caches are in a folder of this name."""
        home = tmp_path / machine
        environment = hub.environment(home, "alice") | {"MAMMOZOO_CACHE": str(home / "cache"), "MAMMOZOO_ZOO": ""}
        answer = python("-m", "mammozoo", *words, cwd=tmp_path, **environment | more).ok
        assert hub.token("alice") not in answer.out + answer.err
        return answer

    on("here", "zoo", "push", tiny_run.path, "--repo", "lab/tiny", "--name", "tiny", "--zoo", zoo, *PUBLISH)
    (entry,) = read_zoo(zoo).models
    assert entry.name == "tiny" and entry.files["model.safetensors"].size > 0
    there = {"MAMMOZOO_ZOO": str(zoo.parent)}
    folder = Path(on("there", "zoo", "pull", "tiny", **there).out.split()[-1])
    assert folder.is_relative_to(tmp_path / "there")
    assert sha256(folder / "config.json") == entry.files["config.json"].sha256
    hub.stop()
    words = ("predict", EXAMPLE, "--device", "cpu", "--json", "--model")
    there |= {"HF_HUB_OFFLINE": "1", "HF_TOKEN": "none"}
    told, expected = on("there", *words, "tiny", **there).json, command(*words, tiny_run.path).json
    assert told["results"] == expected["results"]


@pytest.fixture
def our_zoo(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "our-zoo"
    folder.mkdir()
    (folder / "zoo.yaml").write_text("schema: 1\nmodels: []\n")
    monkeypatch.setenv("MAMMOZOO_ZOO", str(folder))
    monkeypatch.setenv("MAMMOZOO_CACHE", str(tmp_path / "cache"))
    return folder


def test_an_adapter_comes_back_whole(hub, hub_here, our_zoo: Path, command, tmp_path) -> None:
    base = train(tiny(dataset="phantom:n=60", size=64, strategy="full"), tmp_path / "base-run")
    assert command("zoo", "push", base.path, "--repo", "lab/base", "--zoo", our_zoo / "zoo.yaml", *PUBLISH).ok
    assert command("zoo", "pull", "base").ok
    drs = train(tiny(dataset="phantom:n=60", size=64, weights="zoo:base", strategy="drs"), tmp_path / "drs-run")
    assert command(
        "zoo", "push", drs.path, "--repo", "lab/drs", "--as", "adapter", "--zoo", our_zoo / "zoo.yaml", *PUBLISH
    ).ok

    _, adapter = read_zoo(our_zoo / "zoo.yaml").models
    assert adapter.base.sha256 == sha256(base.path / "model.safetensors")
    assert set(adapter.files) == {"README.md", "config.json", "adapter.safetensors"}
    assert adapter.files["adapter.safetensors"].size < (drs.path / "model.safetensors").stat().st_size / 3
    assert "base_model: lab/base" in hub.repos["lab/drs"].at("main").tree["README.md"].data.decode()

    hub_here("alice", "elsewhere")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert command("zoo", "pull", "drs").ok
    made = find_model("drs") / "model.safetensors"
    assert made.read_bytes() == (drs.path / "model.safetensors").read_bytes()
    assert sha256(made) == adapter.full_sha256
