"""A plugin that breaks hurts nobody: it is left out or put up with, and named with a reason."""

import sys
import textwrap
from collections.abc import Callable

import pytest

import mammozoo as package
from mammozoo.errors import NotFoundError
from mammozoo.plugins import Registry

from .last_strategy import STRATEGY, by_name, ours

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
    "API of another type": ("mammozoo_api = '1'", ["API 1"]),
    "hook raises": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): raise KeyError('lost')",
        ["register_strategies raised KeyError", "lost"],
    ),
    "hook returns nothing": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): pass",
        ["register_strategies raised TypeError"],
    ),
    "thing of another type": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): return [int]",
        ["<class 'int'>", "mammozoo.Strategy"],
    ),
    "instance for a class": (
        "from mammozoo import Strategy, hookimpl\n@hookimpl\ndef register_strategies(): return [Strategy()]",
        ["mammozoo.Strategy"],
    ),
    "data set without its info": (
        "from mammozoo import Dataset, hookimpl\nclass Bare(Dataset): name = 'bare'\n"
        "@hookimpl\ndef register_datasets(): return [Bare]",
        ["mammozoo.DatasetInfo"],
    ),
    "network that nothing builds": (
        "from mammozoo import BackboneSpec, hookimpl\n"
        "@hookimpl\ndef register_backbones(): return [BackboneSpec('bare', 'a net', build=None)]",
        ["`build` of BackboneSpec", "not a function"],
    ),
    "text for a path": (
        "from mammozoo import hookimpl\n@hookimpl\ndef register_recipes(): return ['mine.yaml']",
        ["'mine.yaml'", "pathlib.Path"],
    ),
    "recipe that is not there": (
        "from pathlib import Path\nfrom mammozoo import hookimpl\n@hookimpl\ndef register_recipes(): return [Path('no.yaml')]",
        ["register_recipes", "no file 'no.yaml'"],
    ),
    "nameless thing": (
        "from mammozoo import Strategy, hookimpl\nclass Bare(Strategy): pass\n@hookimpl\ndef register_strategies(): return [Bare]",
        ["has no name"],
    ),
    "the same name twice": (
        STRATEGY.format(name="double").replace("[Last]", "[Last, Last]"),
        ["'double' twice"],
    ),
    "generator that raises midway": (
        STRATEGY.format(name="half").replace("return [Last]", "yield Last\n        raise OSError('cut')"),
        ["register_strategies raised OSError: cut"],
    ),
    "exception of an odd kind": ("class Odd(BaseException): pass\nraise Odd('strange')", ["Odd: strange"]),
    "exception that cannot be told": (
        "class Mute(Exception):\n    def __str__(self): raise RuntimeError\nraise Mute",
        ["Mute: (its message cannot be made)"],
    ),
    "hook wrapper": (
        "from mammozoo import hookimpl\n@hookimpl(wrapper=True)\ndef register_strategies(): return (yield)",
        ["'register_strategies'", "wrapper"],
    ),
    **{
        f"name like {name}": (STRATEGY.format(name=name), [f"'{name}'", "register_strategies raised UsageError"])
        for name in ("two words", "a+b", "a:b", "-a")
    },
}  # fmt: skip


Fresh = Callable[[], Registry]


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plugin_hurts_nobody_and_has_a_reason(shelf, what: str) -> None:
    source, words = BROKEN[what]
    shelf.install("broken-one", source, "0.7")
    shelf.install("sound-one", STRATEGY.format(name="sound"))
    registry = Registry([*ours(), *shelf.entries()])
    assert {"drs", "frozen", "sound"} <= set(registry.items("strategies"))
    registry.survey()
    broken = by_name(registry)["broken-one"]
    assert (broken.state, broken.distribution, broken.version) == ("failed", "broken-one", "0.7")
    for word in words:
        assert word in broken.reason
    assert "\n" not in broken.reason
    with pytest.raises(NotFoundError) as caught:
        registry.get("strategies", "sond")
    assert "Did you mean 'sound'?" in str(caught.value)
    assert f"Plugin 'broken-one' (broken-one) could not be loaded: {broken.reason}" in str(caught.value)


def test_of_a_plugin_that_failed_nothing_is_used_and_prints_stay_off_stdout(shelf, capfd) -> None:
    """One sound hook beside a misspelt one: neither counts, for half a plugin is a riddle."""
    source = textwrap.dedent(STRATEGY.format(name="half")) + "\n@hookimpl\ndef register_headz(): return []\n"
    shelf.install("half-broken", source)
    registry = Registry([*ours(), *shelf.entries()])
    assert "half" not in registry.items("strategies")
    assert "Did you mean 'register_heads'?" in by_name(registry)["half-broken"].reason
    loud = STRATEGY.format(name="loud").replace("return [Last]", "print('in the hook')\n        return [Last]")
    shelf.install("loud", "    print('at import')\n" + loud)
    registry = Registry([*ours(), *shelf.entries()])
    assert "loud" in registry.items("strategies")
    assert capfd.readouterr().out == ""


def test_event_hooks_may_raise_exit_and_print(shelf, caplog, capfd) -> None:
    shelf.install("a-raises", "from mammozoo import hookimpl\n@hookimpl\ndef run_end(run): raise ValueError('no')")
    shelf.install("b-exits", "import sys\nfrom mammozoo import hookimpl\n@hookimpl\ndef run_end(run): sys.exit(0)")
    shelf.install("c-prints", "from mammozoo import hookimpl\n@hookimpl\ndef run_end(run): print('done with', run)")
    shelf.install("d-listens", "from mammozoo import hookimpl\ngot = []\n@hookimpl\ndef run_end(run): got.append(run)")
    registry = Registry(shelf.entries())
    for _ in range(3):
        registry.notify("run_end", run="the run")
    assert sys.modules["d_listens"].got == ["the run"] * 3
    assert caplog.text.count("'a-raises': run_end raised ValueError: no") == 1, "once, not once an epoch"
    assert caplog.text.count("'b-exits': run_end raised SystemExit: 0") == 1
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("done with the run") == 3


@pytest.mark.parametrize(
    "source",
    ["raise KeyboardInterrupt", "@hookimpl\ndef register_strategies(): raise KeyboardInterrupt",
     "@hookimpl\ndef run_end(run): raise KeyboardInterrupt"],
    ids=["import", "hook", "event"],
)  # fmt: skip
def test_an_interrupt_goes_through(shelf, source: str) -> None:
    shelf.install("impatient", "from mammozoo import hookimpl\n" + source)
    with pytest.raises(KeyboardInterrupt):
        registry = Registry(shelf.entries())
        registry.items("strategies")
        registry.notify("run_end", run="the run")


def test_a_slow_plugin_is_told_so_in_the_list_alone(shelf, caplog, monkeypatch) -> None:
    monkeypatch.setattr("mammozoo.plugins.provided.SLOW", 0.2)
    nap = "import time; time.sleep(0.25)"
    shelf.install("slow-import", f"{nap}\n" + textwrap.dedent(STRATEGY.format(name="slow")))
    shelf.install("slow-hook", STRATEGY.format(name="slower").replace("return [Last]", f"{nap}\n        return [Last]"))
    registry = Registry(shelf.entries())
    registry.survey()
    named = by_name(registry)
    assert {"slow", "slower"} <= set(registry.items("strategies")), "slow is not broken"
    for name, what in (("slow-import", "its import took "), ("slow-hook", "register_strategies took ")):
        plugin = named[name]
        assert plugin.state == "loaded" and plugin.seconds >= 0.2
        assert any(note.startswith(what) and "in the functions that use them" in note for note in plugin.notes)
    assert caplog.text == "", "it harms nobody, so no command nags"


def test_a_module_that_has_every_attribute(shelf) -> None:
    """PEP 562: what `__getattr__` invents is no stated API and no hook."""
    shelf.install("oracle", "def __getattr__(name): return f'I have {name}'")
    registry = Registry(shelf.entries())
    registry.survey()
    oracle = by_name(registry)["oracle"]
    assert (oracle.state, oracle.reason, oracle.adds) == ("loaded", "", {})


def test_one_module_behind_two_names(shelf) -> None:
    shelf.install("twice", STRATEGY.format(name="once"), entry="a = twice\nb = twice")
    registry = Registry(shelf.entries())
    assert list(registry.items("strategies")) == ["once"]
    assert [plugin.state for plugin in registry.plugins] == ["loaded", "failed"]
    assert "loads the same module" in registry.plugins[1].reason


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("not/a module", "'not/a module', which is neither a module nor module:object"),
        ("nobody_has_it", "ModuleNotFoundError: No module named 'nobody_has_it'"),
        ("json:not_there", "AttributeError"),
    ],
)
def test_an_entry_point_that_leads_nowhere(shelf, entry: str, said: str) -> None:
    shelf.install("lost", "", entry=f"x = {entry}")
    (plugin,) = Registry(shelf.entries()).plugins
    assert plugin.state == "failed" and said in plugin.reason


def test_damaged_metadata(shelf, fresh, monkeypatch) -> None:
    """A half-removed package: its entry point is there and its METADATA is not."""
    from mammozoo.config.requirements import installed_distributions, installed_version

    shelf.install("ghost", STRATEGY.format(name="haunt"))
    next(shelf.folder.glob("ghost*/METADATA")).unlink()
    monkeypatch.delenv("MAMMOZOO_PLUGINS")
    registry = fresh()
    assert "haunt" in registry.items("strategies")
    ghost = by_name(registry)["ghost"]
    assert (ghost.distribution, ghost.version, ghost.builtin) == ("?", "?", False)
    assert installed_distributions()["mammozoo"] == package.__version__
    assert installed_version("ghost") is None


def test_a_summary_that_raises_costs_its_own_line_alone(shelf) -> None:
    source = STRATEGY.format(name="shy").replace(
        "def trainable", "@property\n        def summary(self): ...\n        def trainable"
    )
    shelf.install("shy", source)
    shelf.install(
        "bytes",
        "from pathlib import Path\nfrom mammozoo import hookimpl\n@hookimpl\n"
        "def register_recipes(): return [Path(__file__).with_name('odd.yaml')]",
    )
    (shelf.folder / "odd.yaml").write_bytes(b"\xff\xfe# odd")
    registry = Registry([*ours(), *shelf.entries()])
    assert registry.items("recipes")["odd"].summary.startswith("(UnicodeDecodeError")
