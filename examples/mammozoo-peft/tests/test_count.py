"""The numbers of docs/peft.md, where this package lies in mammozoo's repository."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parents[1]
DOCS = HERE.parents[1] / "docs" / "peft.md"


@pytest.fixture
def count() -> ModuleType:
    """The script beside this package, as a module."""
    spec = importlib.util.spec_from_file_location("count_learning", HERE / "count.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not DOCS.is_file(), reason="needs mammozoo's docs beside it")
@pytest.mark.parametrize("network", ["resnet9:width=32", "resnet18"])
def test_the_table_of_the_docs(network: str, count: ModuleType) -> None:
    """The cheap rows; the script prints all."""
    cells = [f"`{network}`", *(count.learning(network, strategy) for strategy in count.STRATEGIES)]
    assert f"| {' | '.join(cells)} |" in DOCS.read_text(encoding="utf-8").splitlines()
