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
