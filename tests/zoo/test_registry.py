"""The zoo: the packaged one is sound, and bytes that differ are never loaded."""

import copy
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from far import entry

import mammozoo
from mammozoo.config.loading import load
from mammozoo.errors import ConflictError, NotFoundError, NotVerifiedError, RegistryError, UsageError
from mammozoo.models.config import read_config
from mammozoo.models.factory import build_backbone, load_model, load_starting_weights
from mammozoo.zoo.directory import export
from mammozoo.zoo.entry import read_zoo
from mammozoo.zoo.registry import catalogue, default_model, find_model, packaged_zoo

from ..helpers import flip

PACKAGED = {entry.name: entry for entry in read_zoo(packaged_zoo()).models}
SMALL = "busi-resnet9"


def test_the_packaged_zoo_is_valid_and_its_models_have_several_names(tmp_path, monkeypatch) -> None:
    zoo = read_zoo(packaged_zoo())
    assert len(PACKAGED) == len(zoo.models), "no name twice"
    assert zoo.default in PACKAGED
    assert default_model() == zoo.default
    name = default_model()
    folder = find_model(name)
    assert find_model(f"zoo:{name}") == folder
    mine = shutil.copytree(folder, tmp_path / "my-model")
    assert find_model(str(mine)) == mine
    monkeypatch.chdir(tmp_path)
    for reference in ("./my-model", "run:my-model", Path("my-model"), "zoo:./my-model"):
        assert find_model(reference) == Path("my-model")
    with pytest.raises(NotFoundError, match=r"Unknown model 'my-model'\. The folder of that name is \./my-model"):
        find_model("my-model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"no model in 'empty' \(no config.json\)"):
        find_model("empty")
    with pytest.raises(NotFoundError, match=rf"Unknown model '{name[:-1]}'.*Did you mean '{name}'"):
        find_model(name[:-1])
    with pytest.raises(NotFoundError, match="Unknown model 'my-models'"):
        find_model("zoo:my-models")


def test_no_file_beside_an_installation_takes_the_place_of_the_packaged_zoo(tmp_path, monkeypatch) -> None:
    package = tmp_path / "site" / "mammozoo"  # as `pip install --target site` makes it
    package.mkdir(parents=True)
    for folder in (tmp_path, package):
        (folder / "zoo.yaml").write_text("schema: 1\nmodels: []\n")
    monkeypatch.setattr("mammozoo.zoo.registry.__file__", str(package / "zoo" / "registry.py"))
    assert packaged_zoo() == package / "zoo.yaml"


@pytest.mark.parametrize("reference", [None, "zoo:busi-resnet9", "busi-resnet9"])
def test_no_folder_takes_the_place_of_a_zoos_model(reference: str | None, run_copy, command, tmp_path) -> None:
    """Nor that of a word that means other weights, wherever a model is named."""
    for name in (default_model(), SMALL, "imagenet", "random", "auto"):
        shutil.copytree(run_copy, tmp_path / name)
    named = () if reference is None else ("--model", reference)
    used = command("predict", "--example", *named, "--json").ok.json["model"]
    assert used["sha256"] == PACKAGED[SMALL if reference else default_model()].files["model.safetensors"].sha256
    if reference is not None:
        assert mammozoo.load(reference).config.name == SMALL
        backbone = build_backbone("resnet9:width=32")
        load_starting_weights(backbone, "resnet9:width=32", f"zoo:{SMALL}", find_model)
        theirs = load_model(find_model(SMALL))[0].backbone.state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in backbone.state_dict().items())
    for word in (
        "imagenet",
        "random",
        "auto",
        f"zoo:{SMALL}",
        f"hub:lab/x@{'a' * 40}",
        "file:a/b.safetensors",
    ):
        (tmp_path / word).mkdir(parents=True, exist_ok=True)
        (tmp_path / word / "config.json").write_text("{}")
        assert load(None, {"weights": word}).weights == word


def test_a_run_as_starting_weights_is_named_by_its_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, run = "resnet9:width=32", shutil.copytree(find_model(SMALL), tmp_path / "copy")
    for given, kept, told in (
        ("./copy", "zoo:./copy", "zoo:./copy"),
        (f"{run}", f"zoo:{run}", f"zoo:{run}"),
        ("run:copy", "run:copy", "run:copy"),
        (f"run:{run}", f"run:{run}", "run:copy"),
    ):
        recipe = load(None, {"weights": given})
        assert recipe.weights == kept
        lineage = load_starting_weights(build_backbone(name), name, recipe.weights, find_model)
        assert lineage.weights == told and lineage.seen
    with pytest.raises(UsageError, match="run:FOLDER"):
        load_starting_weights(build_backbone(name), name, "copy", find_model)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_model_loads_and_its_card_and_entry_say_what_it_is(name: str) -> None:
    folder = find_model(name)
    model, config = load_model(folder)
    assert not model.training
    assert config.name == name
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert config.intended_use in card and config.training.split_sha256 in card
    for score in config.scores.values():
        assert score["value"] is None or f"{score['value']:.3f}" in card
    assert config.training.seen, "or nobody could tell whether a test set is new to it"
    entry, config = PACKAGED[name], read_config(find_model(name))
    assert entry.stamps == config.stamps and entry.size < 10 * 10**6
    assert entry.training and entry.training.split_sha256 == config.training.split_sha256
    assert entry.training.images == config.training.images
    assert (entry.threshold.value if entry.threshold else 0.5) == config.cut()
    own, *elsewhere = entry.evaluation
    assert bool(elsewhere) == ("## On other data" in card)
    for metric, score in own.scores.items():
        stated = config.scores[metric]
        assert (score.value, score.low, score.high) == (stated["value"], stated["low"], stated["high"])
        assert (score.n or own.n) == stated["n"]


# ---------------------------------------------------------------- a zoo of a plugin


class Zoo:
    """A package with one model, a `zoo.yaml` that lists it, and a plugin file that registers the zoo."""

    def __init__(self, home: Path):
        self.home, self.model = home, home / "package_of_models" / "models" / "copy"
        source = find_model(SMALL)
        shutil.copytree(source, self.model)
        (home / "package_of_models" / "__init__.py").write_text("raise RuntimeError('found, never imported')")
        content = {path.name: path.read_bytes() for path in self.model.iterdir()}
        self.entry = entry("copy", content, {"package": "package_of_models", "path": "models/copy"})
        self.path = home / "their-zoo" / "zoo.yaml"
        self.path.parent.mkdir()
        self.write()

    def write(self, **more: Any) -> None:
        self.path.write_text(yaml.safe_dump({"schema": 1, "models": [self.entry], **more}))


@pytest.fixture
def zoo(tmp_path, monkeypatch, from_file) -> Zoo:
    home = tmp_path / "site"
    home.mkdir()
    made = Zoo(home)
    monkeypatch.syspath_prepend(str(home))
    from_file(
        "from pathlib import Path\nfrom mammozoo import hookimpl\n"
        f"@hookimpl\ndef register_zoos(): return [Path({str(made.path)!r})]\n"
    )
    return made


def test_a_plugins_zoo_joins_ours_if_its_package_is_there(zoo: Zoo) -> None:
    assert set(catalogue()) == {*PACKAGED, "copy"}
    assert find_model("zoo:copy") == zoo.model.resolve()
    zoo.entry["source"]["package"] = "nobody_has_this_package"
    zoo.write()
    with pytest.raises(NotFoundError, match=r"'nobody_has_this_package'.*not installed"):
        find_model("zoo:copy")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit of the weights": lambda folder: flip(folder / "model.safetensors"),
    "one bit of the config": lambda folder: flip(folder / "config.json"),
    "weights cut": lambda folder: (folder / "model.safetensors").write_bytes(b"short"),
    "a byte more": lambda folder: (folder / "README.md").open("ab").write(b"\n"),
    "a file gone": lambda folder: (folder / "config.json").unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_tampered_model_is_not_loaded(zoo: Zoo, how: str) -> None:
    DAMAGE[how](zoo.model)
    with pytest.raises(NotVerifiedError, match="Model 'copy'"):
        find_model("zoo:copy")
    assert find_model(SMALL), "the others are none the worse"


@pytest.mark.parametrize("how", list(DAMAGE)[:2])
@pytest.mark.parametrize("kind", ["packaged", "joined"])
def test_what_is_loaded_is_what_was_checked(zoo: Zoo, how: str, kind: str, monkeypatch) -> None:
    """Also if somebody changes a file after the check and before it is read."""
    monkeypatch.setenv("MAMMOZOO_CACHE", str(zoo.home / "cache"))
    name = "copy" if kind == "packaged" else "busi-resnet9-drs"
    folder = find_model(name)
    DAMAGE[how](folder)
    monkeypatch.setattr("mammozoo.zoo.registry.find_model", lambda reference: folder)
    with pytest.raises(NotVerifiedError, match="changed since"):
        mammozoo.load(name)
    monkeypatch.undo()
    if kind == "joined":
        monkeypatch.setenv("MAMMOZOO_CACHE", str(zoo.home / "cache"))
        assert mammozoo.load(name).config.name == name, "joined anew"


@pytest.mark.parametrize("path", ["..", "../elsewhere", "models/../../elsewhere", "/etc", "link"])
def test_a_path_that_leads_out_is_refused(zoo: Zoo, path: str) -> None:
    outside = shutil.copytree(zoo.model, zoo.home / "elsewhere")
    (zoo.home / "package_of_models" / "link").symlink_to(outside)
    zoo.entry["source"]["path"] = path
    zoo.write()
    with pytest.raises(RegistryError, match="leads out of its package"):
        find_model("zoo:copy")


def test_one_name_twice_in_two_zoos_or_in_one(zoo: Zoo) -> None:
    zoo.entry["name"] = SMALL
    zoo.entry["files"]["README.md"]["size"] += 1
    zoo.write()
    with pytest.raises(ConflictError) as caught:
        catalogue()
    for word in (SMALL, str(zoo.path), str(packaged_zoo())):
        assert word in str(caught.value)
    zoo.entry["name"] = "copy"
    zoo.write(models=[zoo.entry, copy.deepcopy(zoo.entry)])
    with pytest.raises(ConflictError, match="'copy'"):
        catalogue()


@pytest.mark.parametrize("how", ["a clash", "no YAML"])
def test_a_plugins_zoo_takes_no_model_of_ours_away(zoo: Zoo, how: str, caplog) -> None:
    if how == "a clash":
        zoo.entry["name"] = SMALL
        zoo.entry["files"]["README.md"]["size"] += 1
        zoo.write()
    else:
        zoo.path.write_text("models: [")
    assert find_model(SMALL) == find_model(f"zoo:{SMALL}")
    assert str(zoo.path) in caplog.text
    with pytest.raises((ConflictError, RegistryError)):
        find_model("zoo:copy")


@pytest.mark.parametrize("order", ["older first", "newer first"])
@pytest.mark.parametrize("name", ["busi-resnet9", "copy", "renamed"])
def test_a_withdrawal_counts_in_whatever_zoo_it_stands(zoo: Zoo, command, tmp_path, monkeypatch, order, name) -> None:
    """Of a model of the same files: of a packaged one, of one in an older zoo too, and under another name."""
    older, newer = zoo.home / "older", zoo.home / "newer"
    entry = zoo.entry | {"source": {"path": "models/copy"}}
    for folder, changes in ((older, {}), (newer, {"name": name, "withdrawn": "trained on test images"})):
        shutil.copytree(zoo.model, folder / "models" / "copy")
        (folder / "zoo.yaml").write_text(yaml.safe_dump({"schema": 1, "models": [entry | changes]}))
    folders = [older, newer] if order == "older first" else [newer, older]
    monkeypatch.setenv("MAMMOZOO_ZOO", os.pathsep.join(map(str, folders)))
    for words in (("--model", "copy"), ("--model", name), ("--model", "busi-resnet9-drs")):
        command("predict", "--example", *words).refused(3, "withdrawn: trained on test images")
    export([catalogue()["copy"]], tmp_path / "out")
    assert read_zoo(tmp_path / "out" / "zoo.yaml").models[0].withdrawn


def test_the_same_model_in_two_zoos_is_one_model(zoo: Zoo) -> None:
    model = catalogue()[SMALL].entry
    zoo.entry |= {"name": model.name, "files": {name: file.model_dump() for name, file in model.files.items()}}
    zoo.write()
    assert list(catalogue()) == list(PACKAGED)
