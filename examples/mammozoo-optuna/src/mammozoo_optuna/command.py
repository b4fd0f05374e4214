"""`mammozoo optuna RECIPE --space FILE --trials N --out RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from mammozoo import UsageError

from mammozoo_optuna.space import read_space

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the recipe; repeatable.")
]


def search(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or YAML file, or a folder of your images.")],
    space: Annotated[Path, typer.Option(help="YAML file: key of the recipe, its choices or range.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a search that was interrupted goes on.")],
    trials: Annotated[
        int, typer.Option(min=1, max=10_000, help="Points of the space, besides the recipe as it stands.")
    ] = 20,
    settings: Settings = None,
) -> None:
    """Search a recipe's space by Optuna: sampled by TPE, pruned by the median, chosen on validation."""
    wanted = {}
    for text in settings or ():
        key, equals, value = text.partition("=")
        try:
            wanted[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {text}: {error}") from None
        if not key or not equals:
            raise UsageError(f"--set takes KEY=VALUE, not '{text}'.")
    chosen = read_space(space)
    from mammozoo_optuna.study import optimize

    run = optimize(recipe, wanted, chosen, out, trials)
    auc = run.scores.get("auc")
    print(f"{run.path}: chosen {run.facts['model']['fold']}{f', AUC {auc} on the test part' if auc else ''}")
    print(f"Try: mammozoo report {run.path}")
