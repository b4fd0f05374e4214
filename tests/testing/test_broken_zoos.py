"""Each check of zoos, tried on one that breaks just that: copies of a zoo that was exported from ours."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mammozoo import plugins
from mammozoo.files import sha256
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.testing import checks, run
from mammozoo.zoo.directory import export
from mammozoo.zoo.registry import listed

Change = Callable[[Path, list[dict[str, Any]]], dict[str, Any] | None]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and an adapter of it, as `mammozoo zoo export` writes them."""
    folder = tmp_path_factory.mktemp("zoo") / "ours"
    export([listed("busi-resnet9"), listed("busi-resnet9-drs")], folder)
    return folder


@pytest.fixture
def changed(exported: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """A copy of it after a change; each file that changed has its new hash, unless the change says that it has not."""

    def make(change: Change) -> Path:
        folder = Path(shutil.copytree(exported, tmp_path / "yours"))
        content = yaml.safe_load((folder / "zoo.yaml").read_text(encoding="utf-8"))
        content |= change(folder, content["models"]) or {}
        (folder / "zoo.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return folder / "zoo.yaml"

    return make


def place(folder: Path, model: dict[str, Any], file: str) -> Path:
    return folder / model["source"]["path"] / file


def renamed(models: list[dict[str, Any]]) -> dict[str, Any]:
    """The first model under a name of its own, without the adapter."""
    del models[1]
    models[0]["name"] = "yours"
    return models[0]


def unlisted_key(folder: Path, models: list[dict[str, Any]]) -> None:
    models[0]["licence"] = "apache-2.0"


def name_of_another(folder: Path, models: list[dict[str, Any]]) -> None:
    """The packaged zoo has the model with this card; here it is another card."""
    del models[1]
    card = place(folder, models[0], "README.md")
    card.write_text("another card")
    models[0]["files"]["README.md"] = {"sha256": sha256(card), "size": card.stat().st_size}


def odd_licence(folder: Path, models: list[dict[str, Any]]) -> None:
    models[0]["license"] = "free for all"


def no_card(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    del model["files"]["README.md"]
    place(folder, model, "README.md").unlink()


def other_bytes(folder: Path, models: list[dict[str, Any]]) -> None:
    card = place(folder, models[0], "README.md")
    card.write_bytes(card.read_bytes()[::-1])


def other_classes(folder: Path, models: list[dict[str, Any]]) -> None:
    models[0]["classes"].reverse()


def other_base(folder: Path, models: list[dict[str, Any]]) -> None:
    models[1]["base"]["sha256"] = "0" * 64


def other_weights(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    weights = place(folder, model, "model.safetensors")
    tensors = read_tensors(weights)
    tensors["backbone.extra"] = torch.zeros(3)
    write_tensors(weights, tensors)
    model["files"]["model.safetensors"] = {"sha256": sha256(weights), "size": weights.stat().st_size}


def twice(folder: Path, models: list[dict[str, Any]]) -> None:
    models.append(copy.deepcopy(models[0]))


def no_terms(folder: Path, models: list[dict[str, Any]]) -> None:
    models[0]["data_terms"] = " "


def stray_file(folder: Path, models: list[dict[str, Any]]) -> None:
    place(folder, models[0], "notes.txt").write_text("of patients, perhaps")


def unknown_network(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    config = place(folder, model, "config.json")
    content = json.loads(config.read_text(encoding="utf-8"))
    own = content.get("mammozoo", content)
    own["backbone"] = "resnet99"
    config.write_text(json.dumps(content))
    model["files"]["config.json"] = {"sha256": sha256(config), "size": config.stat().st_size}


def other_default(folder: Path, models: list[dict[str, Any]]) -> dict[str, Any]:
    return {"default": "nobody"}


BROKEN = [
    ("zoo-loads", "models.0.licence", unlisted_key),
    ("names-are-unique", "Two zoos .* 'busi-resnet9'", name_of_another),
    ("names-are-unique", "'busi-resnet9' is there 2 times", twice),
    ("names-are-unique", "'nobody'", other_default),
    ("licence-and-terms", "'free for all' of 'busi-resnet9'", odd_licence),
    ("licence-and-terms", "'busi-resnet9' has no data_terms", no_terms),
    ("cards-are-there", "'yours' .* README.md", no_card),
    ("files-are-as-promised", "not the file", other_bytes),
    ("files-are-as-promised", "'notes.txt'", stray_file),
    ("entries-agree-with-models", "normal, malignant, benign here and benign, malignant, normal in", other_classes),
    ("bases-are-known", "'busi-resnet9' with other weights .SHA-256 0000", other_base),
    ("models-are-rebuilt", "backbone.extra", other_weights),
    ("models-are-rebuilt", "resnet99", unknown_network),
]


def test_a_sound_zoo_passes_all(passes: Any, exported: Path) -> None:
    passes(exported / "zoo.yaml")


@pytest.mark.parametrize(("rule", "words", "change"), BROKEN)
def test_a_broken_zoo_fails_just_that(
    breaks: Any, changed: Callable[[Change], Path], rule: str, words: str, change: Change
) -> None:
    breaks(rule, words, changed(change))


@pytest.mark.parametrize(("name", "broken"), [("zoo.yaml", set()), ("models.yaml", {"zoo-loads"})])
def test_a_zoo_of_an_installed_plugin(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, broken: set[str]
) -> None:
    """It is among the zoos of this machine already, and must not be its own rival."""
    folder = Path(shutil.copytree(exported, tmp_path / "yours"))
    (folder / "zoo.yaml").rename(folder / name)
    file = tmp_path / "made_here.py"
    file.write_text(
        "from pathlib import Path\nfrom mammozoo import hookimpl\n\n\n@hookimpl\ndef register_zoos():\n"
        f"    return [Path(__file__).parent / 'yours' / {name!r}]\n"
    )
    monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", str(file))
    plugins.registry.cache_clear()
    try:
        found = [run(check) for check in checks("made_here")]
    finally:
        plugins.registry.cache_clear()
    assert {result.check for result in found if result.state == "failed"} == broken
    assert all(result.item in ("made_here", "yours") for result in found)


def test_models_that_are_elsewhere_are_not_tried(changed: Callable[[Change], Path]) -> None:
    """Of a model on the Hub that was never pulled its entry is checked, and what needs its files is skipped."""

    def far(folder: Path, models: list[dict[str, Any]]) -> None:
        renamed(models)["source"] = {"hub": "nobody/nothing", "revision": "0" * 40}

    found = {result.check: result for result in map(run, checks(changed(far)))}
    skipped = {name for name, result in found.items() if result.state == "skipped"}
    assert skipped == {"files-are-as-promised", "entries-agree-with-models", "models-are-rebuilt"}
    assert all("mammozoo zoo pull" in found[name].reason for name in skipped)
    assert {result.state for result in found.values()} == {"passed", "skipped"}
