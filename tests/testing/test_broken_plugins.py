"""Each check of a plugin as a whole, tried on one that breaks just that."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mammozoo import plugins
from mammozoo.testing import checks

Install = Callable[[str], str]

SOUND = """
    from mammozoo import Metric, hookimpl

    def share(outcome):
        return float((outcome.labels == outcome.decisions).mean())

    @hookimpl
    def register_metrics():
        return [Metric("share", "share of right decisions", share)]
"""
UNMARKED = SOUND + "\n    def run_end(run):\n        pass\n"
BROKEN = [
    ("loads", "register_metrics .* KeyError", SOUND.replace("return [", "raise KeyError('lost')\n        return [")),
    ("loads", "'nothing_of_that_name'", "import nothing_of_that_name"),
    ("loads", "'a share'", SOUND.replace('"share", "share of', '"a share", "share of')),
    ("loads", "'auc' in metrics", SOUND.replace('"share", ', '"auc", ')),
    ("hooks-are-heard", "`run_end` .* `@hookimpl`", UNMARKED),
    ("hooks-are-heard", "`register_metrics`", SOUND.replace("@hookimpl\n", "\n")),
    ("hooks-are-heard", "brings nothing", ""),
    ("hooks-are-heard", "brings nothing", SOUND.partition("return [")[0] + "return []"),
]


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


def test_a_sound_plugin_passes_all(passes: Any, installed: Install) -> None:
    name = installed(SOUND)
    passes(name)
    assert {check.kind for check in checks(name)} == {"plugins", "metrics"}


@pytest.mark.parametrize(("rule", "words", "source"), BROKEN)
def test_a_broken_plugin_fails_just_that(breaks: Any, installed: Install, rule: str, words: str, source: str) -> None:
    breaks(rule, words, installed(source))
