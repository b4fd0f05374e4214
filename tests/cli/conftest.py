"""What the tests of the command line share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The flags of a training of two seconds."""
    return [
        "--dataset", "phantom:n=60", "--backbone", "test_resnet", "--weights", "random", "--epochs", "1",
        "--device", "cpu", "--set", "size=64", "--set", "augment=[hflip]", "--no-report",
    ]  # fmt: skip
