"""The contract of mammozoo, on everything that this package brings and that has checks."""

from __future__ import annotations

from mammozoo.testing import Check, parametrize_with_checks


@parametrize_with_checks("example")
def test_contract(check: Check) -> None:
    """One test for each check and thing; its message says what is broken and what to do."""
    check.run()
