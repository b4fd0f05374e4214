"""Fixtures for tests on real images."""

from pathlib import Path

import pytest

from mammozoo.data.loaded import open_dataset
from mammozoo.data.quality.check import Check, check
from mammozoo.progress import Progress


@pytest.fixture(scope="session")
def busi_check(local_data: Path) -> Check:
    """The check of all images of BUSI, which takes a minute; read it, never change it."""
    root = local_data / "data" / "busi"
    return check(open_dataset("busi", root), root, Progress())
