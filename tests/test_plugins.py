"""The plugin door: ours come through it, others' may break behind it without hurting anybody."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mammozoo as package
from mammozoo import plugins
from mammozoo.errors import ConflictError, NotFoundError
from mammozoo.plugins import Plugin, Registry

ROOT = Path(__file__).parents[1]

STRATEGY = """
    from mammozoo import Strategy, hookimpl

    class Last(Strategy):
        \"\"\"Train the very last parameter.\"\"\"
        name = "{name}"

        def trainable(self, model):
            return list(model.backbone.parameters())[-1:]

    @hookimpl
    def register_strategies():
        return [Last]
"""

BROKEN = {
    "bad import": ("import a_module_that_nobody_has", ["ModuleNotFoundError", "a_module_that_nobody_has"]),
    "syntax error": ("def (:", ["SyntaxError"]),
    "exit": ("import sys\nsys.exit(3)", ["SystemExit", "3"]),
    "exit in a hook": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies():\n    raise SystemExit(4)",
        ["register_strategies", "SystemExit", "4"],
    ),
    "wrong hook argument": (
        "from mammozoo import hookimpl\n@hookimpl\ndef run_end(run, bananas): pass",
        ["run_end", "bananas"],
    ),
    "misspelt hook": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategys(): return []",
        ["no hook 'register_strategys'", "Did you mean 'register_strategies'?"],
    ),
    "newer API": ("mammozoo_api = 99", ["plugin API 99", f"mammozoo {package.__version__} has {package.API}"]),
    "API of another type": ("mammozoo_api = '1'", ["plugin API 1"]),
    "hook raises": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): raise KeyError('lost')",
        ["register_strategies raised KeyError", "lost"],
    ),
    "hook returns nothing": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): pass",
        ["register_strategies raised TypeError"],
    ),
    "nameless thing": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): return [int]",
        ["has no name"],
    ),
}  # fmt: skip


class Shelf:
    """Folders that look to Python like installed distributions."""

    def __init__(self, folder: Path):
        self.folder = folder

    def install(self, name: str, source: str, version: str = "1.2", module: str | None = None) -> None:
        """The distribution `name` with one module, which is the plugin of the same name."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        module = module or name.replace("-", "_")
        (info / "entry_points.txt").write_text(f"[mammozoo]\n{name} = {module}\n")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))

    def entries(self) -> list[importlib.metadata.EntryPoint]:
        """What `importlib.metadata` finds on the shelf."""
        found = importlib.metadata.distributions(path=[str(self.folder)])
        return sorted((entry for dist in found for entry in dist.entry_points), key=lambda entry: entry.name)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """An empty shelf on `sys.path`; modules imported from it are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    import sys

    before = set(sys.modules)
    yield Shelf(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def fresh() -> Iterator[Callable[[], Registry]]:
    """`plugins.registry` asked anew; afterwards the usual one comes back."""

    def ask() -> Registry:
        plugins.registry.cache_clear()
        return plugins.registry()

    yield ask
    plugins.registry.cache_clear()


def ours() -> list[importlib.metadata.EntryPoint]:
    return [e for e in importlib.metadata.entry_points(group="mammozoo") if e.dist and e.dist.name == "mammozoo"]


def by_name(registry: Registry) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in registry.plugins}


def test_every_plugin_folder_has_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    stated = project["entry-points"]["mammozoo"]
    assert stated == {folder.removeprefix("mammozoo_"): folder for folder in folders}
    assert {entry.name: entry.value for entry in ours()} == stated


def test_builtins_load_through_entry_points() -> None:
    registry = Registry(ours())
    assert {plugin.state for plugin in registry.plugins} == {"loaded"}
    assert {(plugin.distribution, plugin.version) for plugin in registry.plugins} == {("mammozoo", package.__version__)}
    assert registry.provider("strategies", "drs").name == "drs"
    assert registry.provider("backbones", "resnet9").name == "resnet9"
    assert registry.provider("datasets", "phantom").name == "datasets"
    assert registry.provider("metrics", "auc").name == "basics"
    assert "default" in registry.items("recipes")


def test_a_broken_builtin_is_our_bug_and_raises(shelf: Shelf) -> None:
    shelf.install("mammozoo", "raise RuntimeError('ours')", module="ours_but_broken")
    with pytest.raises(RuntimeError, match="ours"):
        Registry(shelf.entries())


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plugin_hurts_nobody_and_has_a_reason(shelf: Shelf, what: str) -> None:
    source, words = BROKEN[what]
    shelf.install("broken-one", source, "0.7")
    shelf.install("sound-one", STRATEGY.format(name="sound"))
    registry = Registry([*ours(), *shelf.entries()])
    assert {"drs", "frozen", "sound"} <= set(registry.items("strategies"))
    broken = by_name(registry)["broken-one"]
    assert (broken.state, broken.distribution, broken.version) == ("failed", "broken-one", "0.7")
    for word in words:
        assert word in broken.reason
    assert "\n" not in broken.reason
    with pytest.raises(NotFoundError) as caught:
        registry.get("strategies", "sond")
    assert "Did you mean 'sound'?" in str(caught.value)
    assert f"Plugin 'broken-one' (broken-one) could not be loaded: {broken.reason}" in str(caught.value)


def test_of_a_plugin_that_failed_nothing_is_used(shelf: Shelf) -> None:
    """One sound hook beside a misspelt one: neither counts, for half a plugin is a riddle."""
    source = textwrap.dedent(STRATEGY.format(name="half")) + "\n@hookimpl\ndef register_headz(): return []\n"
    shelf.install("half-broken", source)
    registry = Registry([*ours(), *shelf.entries()])
    assert "half" not in registry.items("strategies")
    assert "Did you mean 'register_heads'?" in by_name(registry)["half-broken"].reason


def test_a_name_clash_names_both_distributions(shelf: Shelf) -> None:
    shelf.install("first-lab", STRATEGY.format(name="ours"), "1.0")
    shelf.install("second-lab", STRATEGY.format(name="ours"), "2.5")
    registry = Registry([*ours(), *shelf.entries()])
    with pytest.raises(ConflictError) as caught:
        registry.items("strategies")
    for word in ("'ours'", "strategies", "first-lab 1.0", "second-lab 2.5", "MAMMOZOO_PLUGINS"):
        assert word in str(caught.value)
    assert "gap" in registry.items("heads"), "a clash in one kind leaves the others alone"


def test_nobody_can_replace_a_builtin(shelf: Shelf) -> None:
    shelf.install("usurper", STRATEGY.format(name="drs"), "6.6")
    with pytest.raises(ConflictError, match=rf"mammozoo {package.__version__} and usurper 6\.6"):
        Registry([*ours(), *shelf.entries()]).get("strategies", "drs")


def test_what_a_plugin_prints_stays_off_stdout(shelf: Shelf, capfd: pytest.CaptureFixture[str]) -> None:
    loud = STRATEGY.format(name="loud").replace("return [Last]", "print('in the hook')\n        return [Last]")
    shelf.install("loud", "    print('at import')\n" + loud)
    registry = Registry([*ours(), *shelf.entries()])
    assert "loud" in registry.items("strategies")
    assert capfd.readouterr().out == ""


def test_event_hooks_may_raise(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    shelf.install("a-raises", "from mammozoo import hookimpl\n@hookimpl\ndef run_end(run): raise ValueError('no')")
    shelf.install("b-listens", "from mammozoo import hookimpl\ngot = []\n@hookimpl\ndef run_end(run): got.append(run)")
    Registry(shelf.entries()).notify("run_end", run="the run")
    import sys

    assert sys.modules["b_listens"].got == ["the run"]
    assert "'a-raises': run_end raised ValueError: no" in caplog.text


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, {"one", "two"}), ("", set()), ("two", {"two"}), (" one , two", {"one", "two"}), ("absent", set())],
)
def test_mammozoo_plugins_chooses(
    shelf: Shelf, fresh: Callable[[], Registry], monkeypatch: pytest.MonkeyPatch, chosen: str | None, expected: set[str]
) -> None:
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


Command = Callable[..., subprocess.CompletedProcess[str]]


def test_third_party_strategy_is_listed_and_trains(shelf: Shelf, mammozoo: Command) -> None:
    """The whole way: installed beside a broken one that prints, listed with its version, trained by name."""
    shelf.install("tail-lab", "    print('hello from tail-lab')\n" + STRATEGY.format(name="tail"), "3.1")
    shelf.install("sad-lab", "print('about to fail'); import nothing_like_it", "0.1")
    there = {"PYTHONPATH": str(shelf.folder), "MAMMOZOO_PLUGINS": "tail-lab,sad-lab"}

    listed = mammozoo("list", "strategies", "--json", **there)
    assert listed.returncode == 0, listed.stderr
    items = {item["name"]: item for item in json.loads(listed.stdout)["items"]}
    assert (items["tail"]["plugin"], items["tail"]["distribution"], items["tail"]["version"]) == (
        "tail-lab",
        "tail-lab",
        "3.1",
    )
    assert items["tail"]["summary"] == "Train the very last parameter."
    assert (items["drs"]["plugin"], items["drs"]["version"]) == ("drs", package.__version__)
    assert listed.stderr.count("sad-lab 0.1") == 1 and "nothing_like_it" in listed.stderr

    shown = mammozoo("plugins", "list", "--json", **there)
    plugin = {item["name"]: item for item in json.loads(shown.stdout)["items"]}
    assert plugin["sad-lab"]["state"] == "failed" and "nothing_like_it" in plugin["sad-lab"]["reason"]
    assert plugin["tail-lab"]["adds"]["strategies"] == ["tail"]

    trained = mammozoo(
        "train", "--strategy", "tail", "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random",
        "--epochs", 1, "--set", "size=64", "--set", "augment=[]", "--device", "cpu", "--out", "run", "--json", **there,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    run = Path(str(shelf.folder.parent)) / json.loads(trained.stdout)["run"]
    config = json.loads((run / "config.json").read_text())["mammozoo"]
    assert config["strategy"] == "tail"
    assert config["plugins"]["tail-lab"] == "3.1"


def test_plugin_from_a_file(tmp_path: Path, mammozoo: Command) -> None:
    (tmp_path / "mine.py").write_text(textwrap.dedent(STRATEGY.format(name="from-a-file")))
    listed = mammozoo("--plugin", "mine.py", "--plugin", "absent.py", "list", "strategies", "--json")
    assert listed.returncode == 0, listed.stderr
    items = {item["name"]: item for item in json.loads(listed.stdout)["items"]}
    assert items["from-a-file"]["plugin"] == "mine"
    assert items["from-a-file"]["distribution"] == "mine.py"
    assert "no file 'absent.py'" in listed.stderr
