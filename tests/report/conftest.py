"""Runs and reports that several tests read."""

from pathlib import Path

import pytest

from mammozoo.report.page import write_report
from mammozoo.training.run_directory import RunDirectory


@pytest.fixture(scope="session")
def tiny_report(tiny_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of `tiny_run`, with heatmaps."""
    return write_report(tiny_run.path, out=tmp_path_factory.mktemp("report") / "tiny.html")
