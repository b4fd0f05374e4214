"""What is written: the files, and code that a linter, a formatter and a type checker have nothing to say about."""

import importlib.util
import tomllib
from pathlib import Path

import pytest
import yaml

import mammozoo
from mammozoo.errors import ConflictError, UsageError
from mammozoo.scaffold import KINDS, write
from mammozoo.scaffold.names import LONGEST, Names, names, refuse_taken

from ..helpers import python

ROOT = Path(__file__).parents[2]
SHORT, LONG = "x", "own-" + "y" * (LONGEST - 4)


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_what_they_state(kind: str, tmp_path) -> None:
    made = write("our-own", kind, tmp_path / "deep")
    assert made.folder == tmp_path / "deep" / "our-own"
    module, test = "src/mammozoo_our_own/__init__.py", "tests/test_our_own.py"
    common = {
        *[".github/workflows/test.yml", ".gitignore", "README.md", "pyproject.toml", "src/mammozoo_our_own/py.typed"]
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
    for line in ("# mammozoo-our-own", "pip install -e '.[test]'", "plugins check our-own", "Choose a licence"):
        assert line in readme
    assert made.next[:2] == (f"pip install -e '{made.folder}[test]'", f"python -m pytest {made.folder}")
    assert all("our-own" in line for line in made.next)


def test_every_template_is_in_the_wheel() -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="needs hatchling: pip install '.[test]'")
    inside = {file.distribution_path for file in builder.WheelBuilder(str(ROOT)).recurse_included_files()}
    folder = ROOT / "src" / "mammozoo" / "scaffold" / "templates"
    templates = {path.relative_to(ROOT / "src").as_posix() for path in folder.rglob("*.j2")}
    assert len(templates) == 14 and templates <= inside


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[Path]:
    parent = tmp_path_factory.mktemp("written")
    return [write(f"{name}", kind, parent / kind).folder for kind in KINDS for name in (SHORT, LONG)]


@pytest.mark.parametrize("settings", ["ours", "its own"])
def test_ruff_has_nothing_to_say(settings: str, written: list[Path]) -> None:
    pytest.importorskip("ruff", reason="needs ruff: pip install '.[dev]'")
    for folder in written:
        config = (ROOT if settings == "ours" else folder) / "pyproject.toml"
        for words in (["check"], ["format", "--check", "--diff"]):
            assert python("-m", "ruff", *words, "--no-cache", "--config", config, ".", cwd=folder).ok


def test_mypy_has_nothing_to_say(written: list[Path], request) -> None:
    """Under the settings of the package; torch's types are read once, and kept where pytest keeps things."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy: pip install '.[dev]'")
    cache = request.config.cache.mkdir("mypy") if request.config.cache else written[0] / ".mypy_cache"
    for folder in (folder for folder in written if folder.name == SHORT):  # packages of one name are not one program
        words = ("--config-file", folder / "pyproject.toml", "--cache-dir", cache, folder / "src", folder / "tests")
        assert python("-m", "mypy", *words, cwd=written[0], PYTHONPATH="").ok


# ---------------------------------------------------------------- from what a user calls a package to the names in it


@pytest.mark.parametrize(
    "text", ["our-hospital", "Our-Hospital", "our_hospital", "our.hospital", "our--hospital", "mammozoo-our-hospital"]
)
def test_all_spellings_are_one_name(text: str) -> None:
    made = names(text)
    assert made == Names("our-hospital")
    assert (made.distribution, made.module) == ("mammozoo-our-hospital", "mammozoo_our_hospital")
    assert (made.identifier, made.prefix) == ("our_hospital", "OurHospital")


def test_digits_the_longest_and_a_name_of_another_kind_are_free() -> None:
    assert names("net9-v2").prefix == "Net9V2"
    assert names("a" * LONGEST).name == "a" * LONGEST
    refuse_taken(Names("busi"), "metrics")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot name a package"),
        ("mammozoo-", "cannot name a package"),
        ("our hospital", "a letter first"),
        ("3d-net", "a letter first"),
        ("../net", "letters, digits and '-'"),
        ("net:k=1", "letters, digits and '-'"),
        ("a+b", "letters, digits and '-'"),
        ("-net", "a letter first"),
        ("net-", "letters, digits and '-'"),
        ("größe", "letters, digits and '-'"),
        ("lambda", "keyword"),
        ("Class", "keyword"),
        ("none", "keyword"),
        ("a" * (LONGEST + 1), f"{LONGEST + 1} letters"),
    ],
)
def test_what_python_or_a_recipe_cannot_say_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match="name") as caught:
        names(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("drs", "strategies", "one of the strategies of mammozoo"),
        ("busi", "datasets", "one of the datasets of mammozoo"),
        ("resnet18", "backbones", "one of the backbones of mammozoo"),
        ("gamma", "metrics", "a plugin of mammozoo"),
    ],
)
def test_a_name_that_is_taken(name: str, kind: str, words: str) -> None:
    with pytest.raises(ConflictError) as caught:
        refuse_taken(Names(name), kind)
    assert words in str(caught.value) and f"`mammozoo list {kind}`" in str(caught.value)
