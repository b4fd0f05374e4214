"""Which checks a thing fails, for the tests that break one promise at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mammozoo.testing import checks, run


@pytest.fixture(scope="session")
def failures() -> Callable[..., dict[str, str]]:
    """Name of each check that fails on a thing → its reason."""

    def ask(thing: Any, **settings: Any) -> dict[str, str]:
        return {r.check: r.reason for r in map(run, checks(thing, **settings)) if r.state == "failed"}

    return ask


@pytest.fixture(scope="session")
def states() -> Callable[..., set[str]]:
    """What comes of all checks of a thing: `{"passed"}` where it is sound and every rule can be tried."""

    def ask(thing: Any, **settings: Any) -> set[str]:
        found = [run(check) for check in checks(thing, **settings)]
        assert all(result.state == "passed" for result in found), [r for r in found if r.state != "passed"]
        return {result.state for result in found}

    return ask
