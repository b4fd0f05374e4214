"""The house: each file holds one idea, and no file has more than 300 lines."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("folder", ["src", "plugins"])
def test_no_file_has_more_than_300_lines(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*.py") if "templates" not in path.parts]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert len(lines) > 20 and {name: count for name, count in lines.items() if count > 300} == {}
