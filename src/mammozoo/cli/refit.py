"""`mammozoo train --refit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.options import stopping
from mammozoo.cli.output import note, print_json, progress, say

if TYPE_CHECKING:
    from mammozoo.config.sections import Root


def train_on_all(run: Path, root: Root | None, as_json: bool) -> None:
    """Train the model, or go on with it, and say where it lies."""
    from mammozoo.config.names import reference_to
    from mammozoo.training.checkpoint import Stopped
    from mammozoo.training.refit import refit

    try:
        with progress() as shown, stopping() as stop:
            folder = refit(run, shown, root=root, stop=stop)
    except Stopped:
        note(f"mammozoo: stopped by a signal. Continue with: mammozoo train --refit {run}")
        raise typer.Exit(143) from None
    if as_json:
        print_json({"model": folder.as_posix()})
    else:
        note("All images were used in training, so none can score this model. Its card shows the scores of the run.")
        say(f"{folder}\nTry: mammozoo predict {reference_to(folder)} IMAGE")
