"""Each check of a plugin as a whole, tried on one that breaks just that."""

import pytest

from mammozoo.testing import checks

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


def test_a_sound_plugin_passes_all(passes, from_file) -> None:
    name = from_file(SOUND)
    passes(name)
    assert {check.kind for check in checks(name)} == {"plugins", "metrics"}


@pytest.mark.parametrize(("rule", "words", "source"), BROKEN)
def test_a_broken_plugin_fails_just_that(breaks, from_file, rule: str, words: str, source: str) -> None:
    breaks(rule, words, from_file(source))
