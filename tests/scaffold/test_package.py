"""What is written: the files, and code that a linter, a formatter and a type checker have nothing to say about."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import mammozoo
from mammozoo.scaffold import KINDS, write
from mammozoo.scaffold.names import LONGEST

ROOT = Path(__file__).parents[2]
SHORT, LONG = "x", "own-" + "y" * (LONGEST - 4)


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_what_they_state(kind: str, tmp_path: Path) -> None:
    made = write("our-own", kind, tmp_path / "deep")
    assert made.folder == tmp_path / "deep" / "our-own"
    module, test = "src/mammozoo_our_own/__init__.py", "tests/test_our_own.py"
    common = {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/mammozoo_our_own/py.typed",
    }
    extra = {"tests/pictures.py"} if kind == "dataset" else set()
    assert set(made.files) == common | extra | {module, test}
    found = (path for path in made.folder.rglob("*") if path.is_file())
    assert sorted(path.relative_to(made.folder).as_posix() for path in found) == list(made.files)

    project = tomllib.loads((made.folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "mammozoo-our-own"
    assert project["entry-points"]["mammozoo"] == {"our-own": "mammozoo_our_own"}
    assert mammozoo.__version__.startswith(project["dependencies"][0].removeprefix("mammozoo>="))
    assert f"mammozoo_api = {mammozoo.API}\n" in (made.folder / module).read_text()
    steps = yaml.safe_load((made.folder / ".github/workflows/test.yml").read_text())["jobs"]["test"]["steps"]
    assert steps[1]["with"]["python-version"] == "${{ matrix.python }}"
    assert "python -m pytest" in [step.get("run") for step in steps]
    readme = (made.folder / "README.md").read_text()
    for line in (
        "# mammozoo-our-own",
        "pip install -e '.[test]'",
        "mammozoo plugins check our-own",
        "Choose a licence",
    ):
        assert line in readme
    assert made.next[:2] == (f"pip install -e '{made.folder}[test]'", f"python -m pytest {made.folder}")
    assert all("our-own" in line for line in made.next)


def test_every_template_is_in_the_wheel() -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="needs hatchling: pip install mammozoo[test]")
    inside = {file.distribution_path for file in builder.WheelBuilder(str(ROOT)).recurse_included_files()}
    folder = ROOT / "src" / "mammozoo" / "scaffold" / "templates"
    templates = {path.relative_to(ROOT / "src").as_posix() for path in folder.rglob("*.j2")}
    assert len(templates) == 14 and templates <= inside


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A package of each kind under a short name, and one under the longest."""
    parent = tmp_path_factory.mktemp("written")
    return [write(f"{name}", kind, parent / kind).folder for kind in KINDS for name in (SHORT, LONG)]


@pytest.mark.parametrize("settings", ["ours", "its own"])
def test_ruff_has_nothing_to_say(settings: str, written: list[Path]) -> None:
    pytest.importorskip("ruff", reason="needs ruff: pip install mammozoo[dev]")
    for folder in written:
        config = (ROOT if settings == "ours" else folder) / "pyproject.toml"
        for words in (["check"], ["format", "--check", "--diff"]):
            command = [sys.executable, "-m", "ruff", *words, "--no-cache", "--config", str(config), "."]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_has_nothing_to_say(written: list[Path], request: pytest.FixtureRequest) -> None:
    """Under the settings of the package; torch's types are read once, and kept where pytest keeps things."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy: pip install mammozoo[dev]")
    cache = request.config.cache.mkdir("mypy") if request.config.cache else written[0] / ".mypy_cache"
    sources = [str(folder / part) for folder in written if folder.name == SHORT for part in ("src", "tests")]
    # Four packages of one name are not one program.
    for number in range(0, len(sources), 2):
        command = [sys.executable, "-m", "mypy", "--config-file", str(Path(sources[number]).parent / "pyproject.toml")]
        done = subprocess.run(
            [*command, "--cache-dir", str(cache), *sources[number : number + 2]],
            cwd=written[0], env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
