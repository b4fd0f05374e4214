"""Each check of zoos, tried on one that breaks just that: copies of a zoo that was exported from ours."""

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mammozoo.files import sha256
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.testing import checks, run
from mammozoo.zoo.directory import export
from mammozoo.zoo.registry import listed

Change = Callable[[Path, list[dict[str, Any]]], dict[str, Any] | None]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A model and an adapter of it, as `mammozoo zoo export` writes them."""
    folder = tmp_path_factory.mktemp("zoo") / "ours"
    export([listed("busi-resnet9"), listed("busi-resnet9-drs")], folder)
    return folder


@pytest.fixture
def changed(exported: Path, tmp_path) -> Callable[[Change], Path]:
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


def promise(model: dict[str, Any], path: Path) -> None:
    model["files"][path.name] = {"sha256": sha256(path), "size": path.stat().st_size}


def renamed(models: list[dict[str, Any]]) -> dict[str, Any]:
    """The first model under a name of its own, without the adapter."""
    del models[1]
    models[0]["name"] = "yours"
    return models[0]


def name_of_another(folder: Path, models: list[dict[str, Any]]) -> None:
    """The packaged zoo has the model with this card; here it is another card."""
    del models[1]
    card = place(folder, models[0], "README.md")
    card.write_text("another card")
    promise(models[0], card)


def no_card(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    del model["files"]["README.md"]
    place(folder, model, "README.md").unlink()


def other_bytes(folder: Path, models: list[dict[str, Any]]) -> None:
    card = place(folder, models[0], "README.md")
    card.write_bytes(card.read_bytes()[::-1])


def other_weights(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    weights = place(folder, model, "model.safetensors")
    tensors = read_tensors(weights)
    tensors["backbone.extra"] = torch.zeros(3)
    write_tensors(weights, tensors)
    promise(model, weights)


def unknown_network(folder: Path, models: list[dict[str, Any]]) -> None:
    model = renamed(models)
    config = place(folder, model, "config.json")
    config.write_text(re.sub('"backbone": "[^"]*"', '"backbone": "resnet99"', config.read_text(encoding="utf-8")))
    promise(model, config)


BROKEN = [
    ("zoo-loads", "models.0.licence", lambda folder, models: models[0].update(licence="apache-2.0")),
    ("names-are-unique", "Two zoos .* 'busi-resnet9'", name_of_another),
    ("names-are-unique", "'busi-resnet9' is there 2 times", lambda folder, models: models.append(copy.deepcopy(models[0]))),
    ("names-are-unique", "'nobody'", lambda folder, models: {"default": "nobody"}),
    ("licence-and-terms", "'free for all' of", lambda folder, models: models[0].update(license="free for all")),
    ("licence-and-terms", "has no data_terms", lambda folder, models: models[0].update(data_terms=" ")),
    ("cards-are-there", "'yours' .* README.md", no_card),
    ("files-are-as-promised", "not the file", other_bytes),
    ("files-are-as-promised", "'notes.txt'", lambda folder, models: place(folder, models[0], "notes.txt").touch()),
    (
        "entries-agree-with-models", "normal, malignant, benign here and benign, malignant, normal in",
        lambda folder, models: models[0]["classes"].reverse(),
    ),
    (
        "bases-are-known", "'busi-resnet9' with other weights .SHA-256 0000",
        lambda folder, models: models[1]["base"].update(sha256="0" * 64),
    ),
    ("models-are-rebuilt", "backbone.extra", other_weights),
    ("models-are-rebuilt", "resnet99", unknown_network),
]  # fmt: skip


def test_a_sound_zoo_passes_all(passes, exported: Path) -> None:
    passes(exported / "zoo.yaml")


@pytest.mark.parametrize(("rule", "words", "change"), BROKEN)
def test_a_broken_zoo_fails_just_that(breaks, changed, rule: str, words: str, change: Change) -> None:
    breaks(rule, words, changed(change))


@pytest.mark.parametrize(("name", "broken"), [("zoo.yaml", set()), ("models.yaml", {"zoo-loads"})])
def test_a_zoo_of_an_installed_plugin(exported: Path, tmp_path, from_file, name: str, broken: set[str]) -> None:
    """It is among the zoos of this machine already, and must not be its own rival."""
    folder = Path(shutil.copytree(exported, tmp_path / "yours"))
    (folder / "zoo.yaml").rename(folder / name)
    plugin = from_file(
        "from pathlib import Path\nfrom mammozoo import hookimpl\n\n\n@hookimpl\ndef register_zoos():\n"
        f"    return [Path(__file__).parent / 'yours' / {name!r}]\n"
    )
    found = [run(check) for check in checks(plugin)]
    assert {result.check for result in found if result.state == "failed"} == broken
    assert all(result.item in (plugin, "yours") for result in found)


def test_models_that_are_elsewhere_are_not_tried(changed: Callable[[Change], Path]) -> None:
    """Of a model on the Hub that was never pulled its entry is checked, and what needs its files is skipped."""

    def far(folder: Path, models: list[dict[str, Any]]) -> None:
        renamed(models)["source"] = {"hub": "nobody/nothing", "revision": "0" * 40}

    found = {result.check: result for result in map(run, checks(changed(far)))}
    skipped = {name for name, result in found.items() if result.state == "skipped"}
    assert skipped == {"files-are-as-promised", "entries-agree-with-models", "models-are-rebuilt"}
    assert all("mammozoo zoo pull" in found[name].reason for name in skipped)
    assert {result.state for result in found.values()} == {"passed", "skipped"}
