"""`parametrize_with_checks` in somebody else's folder: plain pytest, readable names, `-k`, several processes."""

import itertools
from collections.abc import Callable

import pytest

from mammozoo.testing import checks

from ..helpers import Answer, python

OURS = """
from mammozoo.testing import parametrize_with_checks


@parametrize_with_checks("gamma", only=["gamma"], specs=["gamma:layer=2"])
def test_contract(check):
    check.run()
"""
ABSENT = """
from mammozoo.testing import parametrize_with_checks


@parametrize_with_checks("gama")
def test_contract(check):
    check.run()
"""
BROKEN = """
from mammozoo import Strategy
from mammozoo.testing import parametrize_with_checks


class Lost(Strategy):
    \"\"\"Does not adapt.\"\"\"

    name = "lost"

    def adapt(self, model):
        raise KeyError("layer9")


@parametrize_with_checks(Lost)
def test_contract(check):
    check.run()
"""


@pytest.fixture
def plain_pytest(tmp_path) -> Callable[..., Answer]:
    """pytest in an empty folder with these test files; warnings are errors."""

    def run(files: dict[str, str], *words: str) -> Answer:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        options = ("-p", "no:cacheprovider", "--color=no", "-W", "error::pytest.PytestWarning")
        return python("-m", "pytest", *options, *words, cwd=tmp_path, COLUMNS="160")

    return run


def test_names_are_unique_and_in_the_same_order_every_time() -> None:
    """Every process of pytest-xdist must collect the same checks in the same order."""
    names, again = ([str(check) for plugin in ("gamma", "drs") for check in checks(plugin)] for _ in range(2))
    assert len(names) == len(set(names)) and names == again
    assert "strategies-drs-adapt-is-deterministic" in names


def test_somebody_elses_folder(plain_pytest: Callable[..., Answer]) -> None:
    """A plugin that keeps its contract, one that breaks it, and one that is not installed, in one go."""
    files = {"test_ours.py": OURS, "test_absent.py": ABSENT, "test_broken.py": BROKEN}
    done = plain_pytest(files, "-v", "--continue-on-collection-errors", "-k", "pickles or (lost and adapts)")
    assert done.code == 1, done.out
    assert "test_ours.py::test_contract[strategies-gamma:layer=2-pickles] PASSED" in done.out
    assert "test_broken.py::test_contract[strategies-lost-adapts-a-network] FAILED" in done.out
    assert "test_broken.py::test_contract[strategies-lost-pickles] SKIPPED" in done.out
    assert "because 'adapts-a-network' fails; mend that first" in done.out
    assert "KeyError was raised (test_broken.py, line 12, in adapt): 'layer9'" in done.out
    assert '>       raise KeyError("layer9")' in done.out, "the line of whoever wrote it"
    error = done.out.partition("ERROR collecting test_absent.py")[2].splitlines()[1:]
    lines = list(itertools.takewhile(lambda line: not line.startswith(("=", "_")), error))
    assert len(lines) == 1, "one line and no traceback"
    assert "There is no plugin 'gama'. Did you mean 'gamma'?" in lines[0]
    assert "pip install -e FOLDER" in lines[0]
