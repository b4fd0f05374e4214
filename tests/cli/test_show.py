"""`mammozoo show` prints a recipe that can be saved, edited and run."""

from __future__ import annotations

from pathlib import Path

from mammozoo.config.recipe import load
from mammozoo.plugins import registry


def test_what_show_prints_is_the_recipe(command, tmp_path: Path) -> None:
    saved = tmp_path / "saved.yaml"
    for name in registry().items("recipes"):
        answer = command("show", name)
        assert answer.code == 0, answer.err
        saved.write_text(answer.out, encoding="utf-8")
        assert load(str(saved)) == load(name), name


def test_an_unknown_recipe_is_not_found(command) -> None:
    command("show", "defualt").refused(3, "'defualt'", "'default'")
