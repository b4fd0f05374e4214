"""Each check of a plugin as a whole, tried on one that breaks just that."""

import pytest

SOURCE = """
    from mammozoo import Metric, hookimpl

    def share(outcome):
        return float((outcome.labels == outcome.decisions).mean())

    @hookimpl
    def register_metrics():
        return [Metric("share", "share of right decisions", share)]
"""
UNMARKED = SOURCE + "\n    def run_end(run):\n        pass\n"
BROKEN = {"plugins": [
    ("loads", "register_metrics .* KeyError", SOURCE.replace("return [", "raise KeyError('lost')\n        return [")),
    ("loads", "'nothing_of_that_name'", "import nothing_of_that_name"),
    ("loads", "'a share'", SOURCE.replace('"share", "share of', '"a share", "share of')),
    ("loads", "'auc' in metrics", SOURCE.replace('"share", ', '"auc", ')),
    ("hooks-are-heard", "`run_end` .* `@hookimpl`", UNMARKED),
    ("hooks-are-heard", "`register_metrics`", SOURCE.replace("@hookimpl\n", "\n")),
    ("hooks-are-heard", "brings nothing", ""),
    ("hooks-are-heard", "brings nothing", SOURCE.partition("return [")[0] + "return []"),
]}  # fmt: skip
SOUND = {"plugins": [SOURCE]}


def made(thing: str, request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue("from_file")(thing)
    return name
