"""`mammozoo show` prints a recipe that can be saved, edited and run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mammozoo.config.recipe import load
from mammozoo.plugins import registry


@pytest.mark.parametrize("name", sorted(registry().items("recipes")))
def test_what_show_prints_is_the_recipe(command, tmp_path: Path, name: str) -> None:
    answer = command("show", name)
    assert answer.code == 0, answer.err
    saved = tmp_path / "saved.yaml"
    saved.write_text(answer.out, encoding="utf-8")
    assert load(str(saved)) == load(name)


@pytest.mark.parametrize("name", sorted(registry().items("recipes")))
def test_every_recipe_asks_for_things_that_exist(name: str) -> None:
    from mammozoo.config.names import parse
    from mammozoo.data.transforms import build
    from mammozoo.models.factory import build_strategy

    recipe = load(name)
    registry().get("datasets", parse(recipe.dataset).name)
    registry().get("backbones", parse(recipe.backbone).name)
    registry().get("heads", parse(recipe.head).name)
    build_strategy(recipe.strategy)
    for transform in recipe.augment:
        build(transform)


def test_an_unknown_recipe_is_not_found(command) -> None:
    command("show", "defualt").refused(3, "'defualt'", "Did you mean 'default'?")
