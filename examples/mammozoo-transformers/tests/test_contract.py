"""The contract of mammozoo, on the predictor with a model and on the step of preprocessing."""

from __future__ import annotations

from pathlib import Path

from mammozoo.testing import checks, run


def test_contract(pinned: Path) -> None:
    """Every check can be made, and passes."""
    found = {str(check): run(check) for check in checks("transformers", root=pinned)}
    assert any(name.startswith("predictors") for name in found)
    assert {name: result.state for name, result in found.items() if result.state != "passed"} == {}
