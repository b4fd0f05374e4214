"""The plugin door: ours come through it, others' may break behind it without hurting anybody."""

import json
import sys
import textwrap
import tomllib
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import mammozoo as package
from mammozoo.errors import ConflictError, NotFoundError
from mammozoo.plugins import Registry

from .last_strategy import STRATEGY, by_name, ours

ROOT = Path(__file__).parents[2]

Fresh = Callable[[], Registry]


def test_every_plugin_folder_has_its_entry_point_by_which_it_loads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    stated = project["entry-points"]["mammozoo"]
    assert stated == {folder.removeprefix("mammozoo_"): folder for folder in folders}
    assert {entry.name: entry.value for entry in ours()} == stated
    registry = Registry(ours())
    assert {plugin.state for plugin in registry.plugins} == {"loaded"}
    assert {(plugin.distribution, plugin.version) for plugin in registry.plugins} == {("mammozoo", package.__version__)}
    assert registry.provider("strategies", "drs").name == "drs"
    assert registry.provider("backbones", "resnet9").name == "resnet9"
    assert registry.provider("datasets", "phantom").name == "datasets"
    assert registry.provider("metrics", "auc").name == "basics"
    assert "default" in registry.items("recipes")


def test_a_name_clash_is_refused_by_that_name_alone(shelf, caplog) -> None:
    shelf.install("first-lab", STRATEGY.format(name="ours"), "1.0")
    shelf.install("second-lab", STRATEGY.format(name="ours"), "2.5")
    shelf.install("third-lab", STRATEGY.format(name="alone"))
    registry = Registry([*ours(), *shelf.entries()])
    assert {"drs", "alone"} <= set(registry.items("strategies"))
    assert "ours" not in registry.items("strategies"), "neither: which of them it were would be chance"
    with pytest.raises(ConflictError) as caught:
        registry.get("strategies", "ours")
    for word in ("'ours'", "strategies", "first-lab 1.0 and second-lab 2.5", "MAMMOZOO_PLUGINS"):
        assert word in str(caught.value)
    first = by_name(registry)["first-lab"]
    assert (first.state, first.adds["strategies"]) == ("conflict", [])
    assert first.reason == "its name 'ours' in strategies is not used, for it is also that of second-lab 2.5"
    assert by_name(registry)["third-lab"].state == "loaded"
    assert caplog.text.count("'ours'") == 2, "each is named once"


def test_a_broken_builtin_is_our_bug_and_nobody_can_replace_one(shelf) -> None:
    shelf.install("usurper", STRATEGY.format(name="drs"), "6.6")
    registry = Registry([*ours(), *shelf.entries()])
    assert registry.provider("strategies", "drs").builtin
    assert registry.get("strategies", "drs").__module__.startswith("mammozoo_drs")
    usurper = by_name(registry)["usurper"]
    assert usurper.state == "conflict" and f"also that of mammozoo {package.__version__}" in usurper.reason
    shelf.install("mammozoo", "raise RuntimeError('ours')", module="ours_but_broken")
    with pytest.raises(RuntimeError, match="ours"):
        Registry(shelf.entries())


def test_clashes_are_lines_in_the_list_and_notes_are_shown(shelf, fresh, command, monkeypatch) -> None:
    shelf.install("first-lab", STRATEGY.format(name="ours"), "1.0")
    shelf.install("second-lab", STRATEGY.format(name="ours"), "2.5")
    monkeypatch.delenv("MAMMOZOO_PLUGINS")
    fresh()
    listed = command("plugins", "list", "--json").ok
    items = {item["name"]: item for item in listed.json["items"]}
    assert items["first-lab"]["state"] == items["second-lab"]["state"] == "conflict"
    assert "second-lab 2.5" in items["first-lab"]["reason"]
    assert command("list", "strategies").code == 0
    command("train", "--strategy", "ours", "--dry-run").refused(9, "first-lab 1.0 and second-lab 2.5")
    assert "conflict" in command("plugins", "list").out
    shelf.install("unmarked", "def register_strategies(): return []")
    fresh()
    (item,) = [one for one in command("plugins", "list", "--json").json["items"] if one["name"] == "unmarked"]
    assert "'register_strategies' is not marked" in item["notes"][0]
    assert "note: its function 'register_strategies' is not marked" in " ".join(command("plugins", "list").out.split())
    assert "not marked" in command("doctor", "--json").json["facts"]["plugin unmarked"]


def test_two_plugins_of_one_name(shelf) -> None:
    shelf.install("one-lab", STRATEGY.format(name="one"), entry="thing = one_lab")
    shelf.install("two-lab", STRATEGY.format(name="two"), entry="thing = two_lab")
    registry = Registry([*ours(), *shelf.entries()])
    assert {"one", "two"} <= set(registry.items("strategies"))
    both = [plugin for plugin in registry.plugins if plugin.name == "thing"]
    assert [plugin.distribution for plugin in both] == ["one-lab", "two-lab"]
    assert all("2 plugins are called 'thing'" in plugin.notes[0] for plugin in both)


DEPRECATED = """
    import pluggy
    hookspec = pluggy.HookspecMarker("mammozoo")

    @hookspec(warn_on_impl=DeprecationWarning("register_strategies goes in API 3; use register_ways"))
    def register_strategies(): ...

    @hookspec(warn_on_impl_args={"run": DeprecationWarning("run goes in API 3; use path")})
    def run_end(run, path): ...
"""


def test_a_deprecated_hook_works_and_is_named_once(shelf, capfd, recwarn) -> None:
    specs = types.ModuleType("later_specs")
    exec(textwrap.dedent(DEPRECATED), specs.__dict__)
    old = textwrap.dedent(STRATEGY.format(name="old")) + "\ngot = []\n@hookimpl\ndef run_end(run): got.append(run)\n"
    shelf.install("old-lab", old)
    shelf.install("new-lab", "from mammozoo import hookimpl\ngot = []\n@hookimpl\ndef run_end(path): got.append(path)")
    registry = Registry(shelf.entries(), specs=specs)
    assert "old" in registry.items("strategies")
    registry.notify("run_end", run="a run", path="its path")
    assert (sys.modules["old_lab"].got, sys.modules["new_lab"].got) == (["a run"], ["its path"])
    named = by_name(registry)
    assert sorted(named["old-lab"].notes) == [
        "deprecated: register_strategies goes in API 3; use register_ways",
        "deprecated: run goes in API 3; use path",
    ]
    assert (named["old-lab"].state, named["new-lab"].notes) == ("loaded", [])
    assert not [w for w in recwarn if "API 3" in str(w.message)], "told in the list, and not by Python on stderr"
    assert "API 3" not in capfd.readouterr().err


def test_what_is_left_out_is_named_where_it_is_missed(shelf, fresh, monkeypatch) -> None:
    shelf.install("tail-lab", STRATEGY.format(name="tail"))
    monkeypatch.setenv("MAMMOZOO_PLUGINS", "")
    with pytest.raises(NotFoundError, match=r"left out by MAMMOZOO_PLUGINS: tail-lab\."):
        fresh().get("strategies", "tail")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, {"one", "two"}), ("", set()), ("two", {"two"}), (" one , two", {"one", "two"}), ("absent", set())],
)
def test_mammozoo_plugins_chooses(shelf, fresh, monkeypatch, chosen: str | None, expected: set[str]) -> None:
    shelf.install("one", STRATEGY.format(name="first"), module="chosen_one")
    shelf.install("two", STRATEGY.format(name="second"), module="chosen_two")
    if chosen is None:
        monkeypatch.delenv("MAMMOZOO_PLUGINS")
    else:
        monkeypatch.setenv("MAMMOZOO_PLUGINS", chosen)
    names = [plugin.name for plugin in fresh().plugins]
    assert set(names) & {"one", "two"} == expected
    builtin = sorted(entry.name for entry in ours())
    assert names[: len(builtin)] == builtin, "ours come first, whatever is chosen"


def test_third_party_strategy_is_listed_and_trains(shelf, fresh, command, mammozoo, monkeypatch) -> None:
    """The whole way: installed beside a broken one that prints, listed with its version, trained by name."""
    shelf.install("tail-lab", "    print('hello from tail-lab')\n" + STRATEGY.format(name="tail"), "3.1")
    shelf.install("sad-lab", "print('about to fail'); import nothing_like_it", "0.1")
    there = {"PYTHONPATH": str(shelf.folder), "MAMMOZOO_PLUGINS": "tail-lab,sad-lab"}

    monkeypatch.setenv("MAMMOZOO_PLUGINS", there["MAMMOZOO_PLUGINS"])
    fresh()
    listed = command("list", "strategies", "--json").ok
    items = {item["name"]: item for item in listed.json["items"]}
    told = [items["tail"][key] for key in ("plugin", "distribution", "version", "summary")]
    assert told == ["tail-lab", "tail-lab", "3.1", "Train the very last parameter."]
    assert (items["drs"]["plugin"], items["drs"]["version"]) == ("drs", package.__version__)

    shown = command("plugins", "list", "--json")
    plugin = {item["name"]: item for item in shown.json["items"]}
    assert plugin["sad-lab"]["state"] == "failed" and "nothing_like_it" in plugin["sad-lab"]["reason"]
    assert plugin["tail-lab"]["adds"]["strategies"] == ["tail"]

    trained = mammozoo(
        "train", "--strategy", "tail", "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random",
        "--epochs", 1, "--set", "size=64", "--set", "augment=[]", "--device", "cpu", "--out", "run", "--json", **there,
    )  # fmt: skip
    assert trained.err.count("sad-lab 0.1") == 1 and "nothing_like_it" in trained.err
    run = shelf.folder.parent / trained.ok.json["run"]
    config = json.loads((run / "config.json").read_text())["mammozoo"]
    assert config["strategy"] == "tail"
    assert config["plugins"]["tail-lab"] == "3.1"


def test_plugin_from_a_file(tmp_path, mammozoo) -> None:
    (tmp_path / "mine.py").write_text(textwrap.dedent(STRATEGY.format(name="from-a-file")))
    listed = mammozoo("--plugin", "mine.py", "--plugin", "absent.py", "list", "strategies", "--json").ok
    (mine,) = (item for item in listed.json["items"] if item["name"] == "from-a-file")
    assert (mine["plugin"], mine["distribution"]) == ("mine", "mine.py")
    assert "no file 'absent.py'" in listed.err
