"""`mammozoo show`."""

from __future__ import annotations

import typer

from mammozoo.cli.output import say

EXAMPLES = """
mammozoo show default > mine.yaml
mammozoo show byra-2021
"""


def show(name: str = typer.Argument(..., help="Recipe name or YAML file, or the key of a paper.")) -> None:
    """Print a recipe with every key, or a paper. You can save the recipe and edit it."""
    from mammozoo.config.loading import load
    from mammozoo.plugins import registry
    from mammozoo.reproduction.paper import load_paper

    if name in registry().items("papers") and name not in registry().items("recipes"):
        import yaml

        content = load_paper(name).model_dump(mode="json")
        say(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), nl=False)
        return
    say(load(name).to_yaml(), nl=False)
