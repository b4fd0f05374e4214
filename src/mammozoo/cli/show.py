"""`mammozoo show`."""

from __future__ import annotations

import typer


def show(recipe: str = typer.Argument(..., help="Recipe name or YAML file.")) -> None:
    """Print a recipe with every key resolved, ready to save and edit."""
    from mammozoo.training.recipe import load

    typer.echo(load(recipe).to_yaml(), nl=False)
