"""A model or recipe whose plugin is not installed says which distribution to install, and in which version."""

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mammozoo.config.requirements import check_requirements, checked, requirements_of
from mammozoo.errors import IncompatibleError

LAB = """
    from mammozoo import Metric, Strategy, TransformSpec, hookimpl

    class Tail(Strategy):
        \"\"\"Train the very last parameter.\"\"\"
        name = "tail"

        def trainable(self, model):
            return list(model.backbone.parameters())[-1:]

    @hookimpl
    def register_strategies():
        return [Tail]

    def build():
        return lambda pixels, rng: 255 - pixels

    @hookimpl
    def register_transforms():
        return [TransformSpec("negative", "white becomes black", build)]
"""


@pytest.fixture
def lab(shelf, fresh, monkeypatch) -> Callable[[bool], None]:
    """Installs (True) or removes `tail-lab` 3.1."""
    monkeypatch.delenv("MAMMOZOO_PLUGINS")

    def change(there: bool) -> None:
        if there:
            shelf.install("tail-lab", LAB, "3.1")
        else:
            shelf.remove("tail-lab")
        fresh()

    return change


def test_a_run_its_model_and_its_recipe_name_the_plugin_they_need(lab: Any, command, tmp_path, tiny) -> None:
    lab(True)
    assert command("train", *tiny, "--strategy", "tail", "--out", "run").code == 0
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert recipe["requires"] == ["tail-lab>=3.1"]
    assert command("predict", "--example", "--model", "run:run").code == 0

    lab(False)
    needs = ("tail-lab 3.1 (not installed)", "pip install 'tail-lab>=3.1'", "Unknown strategy 'tail'")
    command("predict", "--example", "--model", "run:run").refused(7, *needs)
    command("evaluate", "./run", "--dataset", "phantom:n=24").refused(7, *needs)
    again = ("tail-lab>=3.1, which is not installed", "pip install 'tail-lab>=3.1'")
    command("train", "run/recipe.yaml", "--out", "again").refused(7, *again)
    assert not (tmp_path / "again").exists()
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts | {"status": "failed"}))
    command("train", "--resume", "run").refused(7, *again)
    # The predictions alone need no plugin.
    assert command("evaluate", "./run", "--json").code == 0
    assert command("show", "run/recipe.yaml").code == 0


def test_a_model_whose_preprocessing_is_missing_is_refused_before_the_first_image(lab: Any, command, tiny) -> None:
    lab(True)
    assert command("train", *tiny, "--set", "preprocess=[negative]", "--out", "run").code == 0
    lab(False)
    needs = ("tail-lab 3.1 (not installed)", "pip install 'tail-lab>=3.1'", "Unknown transform 'negative'")
    command("predict", "--example", "--model", "run:run").refused(7, *needs)


def test_a_plugin_from_a_file_is_named_without_its_folder(fresh, command, tmp_path, monkeypatch, tiny) -> None:
    (tmp_path / "jane-doe").mkdir()
    file = tmp_path / "jane-doe" / "trial.py"
    file.write_text(textwrap.dedent(LAB))
    monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", str(file))  # as --plugin does
    fresh()
    assert command("train", *tiny, "--strategy", "tail", "--out", "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["mammozoo"]
    assert config["plugins"]["trial.py"] == "file"
    for name in ("config.json", "run.json", "recipe.yaml", "README.md"):
        assert "jane-doe" not in (tmp_path / "run" / name).read_text()
    monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", "")
    fresh()
    told = "trial.py (a file, given with --plugin) (not installed)"
    command("predict", "--example", "--model", "run:run").refused(7, told)


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("mammozoo-peft>=0.2", ["mammozoo-peft>=0.2", "not installed", "pip install 'mammozoo-peft>=0.2'"]),
        ("mammozoo-peft", ["not installed", "pip install mammozoo-peft"]),
        ("tail-lab<5,>=4", ["tail-lab<5,>=4", "3.1 is installed", "pip install 'tail-lab<5,>=4'"]),
    ],
)
def test_a_missing_requirement_is_named_with_the_command_that_installs_it(shelf, requirement, words: list[str]) -> None:
    shelf.install("tail-lab", "", "3.1")
    with pytest.raises(IncompatibleError) as missing:
        check_requirements([requirement], "Recipe 'mine'")
    for word in ["Recipe 'mine'", *words]:
        assert word in str(missing.value)


def test_a_development_version_satisfies_and_a_run_requires_what_it_used(shelf) -> None:
    """Our own is always there, a file has no version, and pip cannot find a local build's suffix."""
    shelf.install("dev-lab", "", "1.0.dev3")
    check_requirements(["dev-lab>=1.0.dev2"], "This")
    with pytest.raises(IncompatibleError, match=r"dev-lab>=1\.0.*1\.0\.dev3"):
        check_requirements(["dev-lab>=1.0"], "This")
    used = {"mammozoo": "0.1.0", "tail-lab": "3.1", "trial.py": "file", "?": "?", "dev-lab": "1.0.dev3+g12ab"}
    assert requirements_of(used) == ("tail-lab>=3.1", "dev-lab>=1.0.dev3")


RECIPE = "dataset: phantom:n=24\nbackbone: test_resnet\nweights: random\nstrategy: {strategy}\nrequires: {requires}\n"


def test_a_recipe_may_say_what_it_requires(lab: Any, command, tmp_path) -> None:
    lab(True)
    (tmp_path / "mine.yaml").write_text(RECIPE.format(strategy="tail", requires="[tail-lab>=3, mammozoo]"))
    answer = command("train", "mine.yaml", "--dry-run", "--json").ok
    assert answer.json["recipe"]["requires"] == ["tail-lab>=3", "mammozoo"]
    (tmp_path / "mine.yaml").write_text(RECIPE.format(strategy="tail", requires="mammozoo-peft"))
    command("train", "mine.yaml", "--dry-run").refused(7, "Recipe 'mine'", "mammozoo-peft")
    (tmp_path / "mine.yaml").write_text(RECIPE.format(strategy="tail", requires="[two words]"))
    command("train", "mine.yaml", "--dry-run").refused(2, "requires", "two words")


@pytest.mark.parametrize("text", ["two words", "x @ https://example.org/x.whl", "x; python_version > '3'", ">=2"])
def test_a_requirement_is_a_name_with_versions(text: str) -> None:
    """With an address, the message would advise to load code from wherever a recipe says."""
    with pytest.raises(ValueError, match="such as mammozoo-peft"):
        checked(text)


def test_nobody_is_told_to_install_mammozoo_from_an_index() -> None:
    """The name is not ours there yet, and whoever takes it gets what people run."""
    with pytest.raises(IncompatibleError, match="checkout") as caught:
        check_requirements(["Mammozoo>=99"], "Recipe 'x'")
    assert "pip install" not in str(caught.value)
    ours = re.compile(r"pip (?:install|download|wheel)\b[^\n`#]*[ '\"]mammozoo(?=[\[\s'\"`<>=~)]|$)", re.MULTILINE)
    assert ours.search("pip install -U 'mammozoo[ray]'") and ours.search("pip download mammozoo`")
    root = Path(__file__).parents[2]
    files = [
        *root.glob("*.md"),
        *(p for place in ("docs", "src", "plugins", "examples") for p in (root / place).rglob("*.*")),
    ]
    texts = {
        p: p.read_text(encoding="utf-8") for p in files if p.suffix in (".md", ".py", ".j2", ".yaml", ".toml", ".html")
    }
    told = [
        f"{p}: {found[0]}" for p, text in texts.items() for found in ours.finditer(text) if "--no-index" not in found[0]
    ]
    assert len(texts) > 200 and not told
