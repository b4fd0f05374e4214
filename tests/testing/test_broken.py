"""Each check, tried on things that break just that: no other check fails, and the reason says what is wrong."""

import re
import shutil
import socket
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from mammozoo import EpochRow
from mammozoo.testing import checks, run
from mammozoo.testing.plugin import RULES
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.directory import export
from mammozoo.zoo.registry import listed

from . import (
    broken_backbones,
    broken_commands,
    broken_datasets_and_recipes,
    broken_events,
    broken_heads,
    broken_plugins,
    broken_predictors,
    broken_scores_and_transforms,
    broken_strategies,
    broken_zoos,
)
from .broken_datasets_and_recipes import images, of_samples, replace
from .broken_events import SEEN
from .broken_zoos import Change, renamed

#: In each module `SOUND` has things that keep the contract, `BROKEN` (rule, words of the reason, thing), both by kind; a function
#: `made` makes the thing of what stands there.
MODULES = [
    broken_backbones, broken_commands, broken_datasets_and_recipes, broken_events, broken_heads, broken_plugins, broken_predictors,
    broken_scores_and_transforms, broken_strategies, broken_zoos,
]  # fmt: skip
SOUND = [(module, kind, thing) for module in MODULES for kind, things in module.SOUND.items() for thing in things]
BROKEN = [(module, kind, *row) for module in MODULES for kind, rows in module.BROKEN.items() for row in rows]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return images(tmp_path_factory.mktemp("set"))


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


def tried(module: ModuleType, kind: str, thing: Any, request: pytest.FixtureRequest) -> list[Any]:
    settings = {"root": request.getfixturevalue("root")} if kind in ("datasets", "predictors") else {}
    make = getattr(module, "made", lambda thing, request: thing)
    return [run(check) for check in checks(make(thing, request), **settings)]


@pytest.mark.parametrize(("module", "kind", "thing"), SOUND)
def test_a_sound_thing_passes_all(module: ModuleType, kind: str, thing: Any, request) -> None:
    results = tried(module, kind, thing, request)
    assert kind in {result.kind for result in results}
    assert [result for result in results if result.state != "passed"] == []


@pytest.mark.parametrize(("module", "kind", "rule", "words", "thing"), BROKEN)
def test_a_broken_thing_fails_just_that(module, kind: str, rule: str, words: str, thing: Any, request) -> None:
    results = tried(module, kind, thing, request)
    failed = {result.check: result.reason for result in results if result.state == "failed"}
    assert set(failed) == {rule}
    assert re.search(words, failed[rule]), failed[rule]


def test_every_check_has_a_thing_that_breaks_just_that() -> None:
    broken: dict[str, set[str]] = defaultdict(set)
    for _, kind, rule, *_ in BROKEN:
        broken[kind].add(rule)
    assert broken == {kind: {rule.name for rule in rules} for kind, rules in RULES.items()}
    assert all(len(rules) == len({rule.name for rule in rules}) for rules in RULES.values())


def test_a_head_may_refuse_maps_by_the_error_for_that() -> None:
    refuses = broken_heads.made(broken_heads.Refuses, None)
    assert {run(check).state for check in checks(refuses)} == {"passed", "skipped"}


def test_a_gradient_that_is_not_a_number_ruins_the_weights_too() -> None:
    results = [run(check) for check in checks(broken_strategies.TakesRoots)]
    failed = {result.check: result.reason for result in results if result.state == "failed"}
    assert set(failed) == {"every-trainable-gets-a-gradient", "training-goes-through"}
    assert "'backbone.net.maxpool.1.weight' is not finite" in failed["every-trainable-gets-a-gradient"]


@pytest.mark.parametrize(
    ("words", "image"), [("'/benign/1.png' .* relative", "/benign/1.png"), ("exist", "benign/9.png")]
)
def test_a_path_that_leads_nowhere_cannot_be_read_either(root: Path, words: str, image: str) -> None:
    dataset = of_samples(lambda samples: [replace(samples[0], image=image), *samples[1:]])
    results = [result for result in map(run, checks(dataset, root=root)) if result.state == "failed"]
    failed = {result.check: result.reason for result in results}
    assert {"paths-are-there"} <= set(failed) <= {"paths-are-there", "values-are-in-range"}
    assert re.search(words, failed["paths-are-there"])


def test_sound_hooks_see_a_real_run() -> None:
    SEEN.clear()
    assert {run(check).state for check in checks(broken_events.SOUND["events"][0])} == {"passed"}
    epochs, ends = SEEN[:3], SEEN[3:]
    assert len(epochs) == len(ends) == 3, "one call for each check"
    (directory, row, files), (seed, history, auc) = epochs[0], ends[0]
    assert isinstance(directory, RunDirectory) and directory.facts["status"] == "running"
    assert "run.json" in files and "scores.json" not in files, "as it is in the middle of a training"
    assert isinstance(row, EpochRow) and (row.epoch, row.split) == (history.epoch, history.split)
    assert isinstance(seed, int) and isinstance(auc, float)


def test_a_hook_that_sends_something_is_not_let_through() -> None:
    """A check sends nothing to anybody; a hook that raises where there is no network is skipped, not failed."""
    sends = broken_events.plugin(run_end=lambda run: socket.create_connection(("127.0.0.1", 9), timeout=0.1))
    found = [run(check) for check in checks(sends) if check.kind == "events"]
    assert {result.state for result in found} == {"skipped"}
    assert all("It connects to ('127.0.0.1', 9)" in result.reason for result in found)


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
