"""`mammozoo show`."""

from __future__ import annotations

import typer


def show(name: str = typer.Argument(..., help="Recipe name or YAML file, or the key of a paper.")) -> None:
    """Print a recipe with every key resolved, ready to save and edit; of a paper, what it reported and how it is run."""
    from mammozoo.config.recipe import load
    from mammozoo.plugins import registry
    from mammozoo.reproduction.paper import load_paper

    if name in registry().items("papers") and name not in registry().items("recipes"):
        import yaml

        content = load_paper(name).model_dump(mode="json")
        typer.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), nl=False)
        return
    typer.echo(load(name).to_yaml(), nl=False)
