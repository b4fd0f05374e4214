"""`python -m mammozoo_optuna RECIPE --space FILE --trials N --out RUN`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml
from mammozoo import MammozooError, UsageError

from mammozoo_optuna.space import read_space


def main() -> int:
    """Search, and say which point was chosen and where the run is; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mammozoo_optuna", description="Search a recipe's space by Optuna.")
    parser.add_argument("recipe", help="a recipe's name or YAML file, or a folder of your images")
    parser.add_argument("--space", type=Path, required=True, help="YAML: key of the recipe → choices or range")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; one that was interrupted goes on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
    given = parser.parse_args()
    try:
        if given.trials < 1:
            raise UsageError(f"--trials is 1 or more, not {given.trials}.")
        space = read_space(given.space)
        pairs = [text.partition("=") for text in given.set]
        settings = {key: yaml.safe_load(value) for key, _, value in pairs}
        from mammozoo_optuna.study import optimize

        run = optimize(given.recipe, settings, space, given.out, given.trials)
    except MammozooError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{run.path}: chosen {run.facts['model']['fold']}. Try: mammozoo evaluate {run.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
