"""Which checks a thing fails, for the tests that break one promise at a time."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from mammozoo.testing import checks, run

Breaks = Callable[..., None]
Passes = Callable[..., None]


@pytest.fixture(scope="session")
def breaks() -> Breaks:
    """Assert that a thing fails one check and no other, and that the reason holds some words (a regular expression)."""

    def check(rule: str, words: str, thing: Any, **settings: Any) -> None:
        results = [result for result in map(run, checks(thing, **settings)) if result.state == "failed"]
        failed = {result.check: result.reason for result in results}
        assert set(failed) == {rule}
        assert re.search(words, failed[rule]), failed[rule]

    return check


@pytest.fixture(scope="session")
def passes() -> Passes:
    """Assert that a thing passes all checks, and that none of them is skipped."""

    def check(thing: Any, **settings: Any) -> None:
        results = list(map(run, checks(thing, **settings)))
        assert results and [result for result in results if result.state != "passed"] == []

    return check
