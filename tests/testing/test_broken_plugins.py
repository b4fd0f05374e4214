"""Each check of a plugin as a whole, tried on one that breaks just that."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mammozoo import plugins
from mammozoo.testing import checks, run

Install = Callable[[str], str]

SOUND = """
    from mammozoo import Metric, hookimpl

    def share(outcome):
        return float((outcome.labels == outcome.decisions).mean())

    @hookimpl
    def register_metrics():
        return [Metric("share", "share of right decisions", share)]
"""
BROKEN = {
    "loads": (
        SOUND.replace("return [", "raise KeyError('lost')\n        return ["),
        "register_metrics raised KeyError",
    ),
    "hooks-are-heard": (
        SOUND + "\n    def run_end(run):\n        pass\n",
        "`run_end` is not marked as a hook. What is not marked is never called. Write `@hookimpl`",
    ),
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Loads a plugin from its source; gives its name."""

    def install(source: str) -> str:
        file = tmp_path / "made_here.py"
        file.write_text(textwrap.dedent(source))
        monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", str(file))
        plugins.registry.cache_clear()
        return file.stem

    yield install
    plugins.registry.cache_clear()


def failed(name: str) -> dict[str, str]:
    return {result.check: result.reason for result in map(run, checks(name)) if result.state == "failed"}


def test_a_sound_plugin_passes_all(installed: Install) -> None:
    found = [run(check) for check in checks(installed(SOUND))]
    assert {result.kind for result in found} == {"plugins", "metrics"}
    assert {result.state for result in found} == {"passed"}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_plugin_fails_just_that(installed: Install, rule: str) -> None:
    source, words = BROKEN[rule]
    found = failed(installed(source))
    assert set(found) == {rule}
    assert words in found[rule]


@pytest.mark.parametrize(
    ("source", "rule", "words"),
    [
        ("import nothing_of_that_name", "loads", "No module named 'nothing_of_that_name'"),
        (SOUND.replace('"share", "share of', '"a share", "share of'), "loads", "'a share' cannot be written"),
        (SOUND.replace("@hookimpl\n", "\n"), "hooks-are-heard", "`register_metrics` is not marked as a hook"),
        ("", "hooks-are-heard", "It brings nothing: it has no hook"),
        (SOUND.partition("return [")[0] + "return []", "hooks-are-heard", "or its hooks give none"),
    ],
)
def test_other_ways_to_break_them(installed: Install, source: str, rule: str, words: str) -> None:
    found = failed(installed(source))
    assert set(found) == {rule}
    assert words in found[rule]


def test_a_name_of_ours_is_a_failure(installed: Install) -> None:
    found = failed(installed(SOUND.replace('"share", ', '"auc", ')))
    assert set(found) == {"loads"}
    assert "'auc' in metrics is not used" in found["loads"]
