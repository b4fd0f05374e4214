"""A training, from a recipe or a folder to a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.progress import Progress
    from mammozoo.training.run_directory import RunDirectory


def train(
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **more: Any,
) -> RunDirectory:
    """Train a model by a recipe and score it on its test part; the result is the run, with `path`, `recipe` and `facts`.

    Args:
        recipe: a recipe's name or YAML file, or a `Recipe`, such as that of a run; a folder or table of your own images, for
            the recipe `own`; None for `default`.
        settings: by dotted key, as `--set` takes them: `{"optimizer.lr": 1e-3, "split.folds": 5}`. A dictionary as a value
            replaces all that the recipe has there.
        out: the run's folder, new or empty; without it one below `runs/`, named by time and content.
        progress: gets epochs and notes; without it training is silent.
        more: settings whose key has no dot: `epochs=3`.

    Raises:
        UsageError: an unknown key, or a value of the wrong type; the message names the key.
        NotFoundError: no such recipe, or the recipe names something that no plugin provides.
        ConflictError: `out` is not empty.
        MammozooError: whatever else stops a training, with the reason.
    """
    from mammozoo.config import loading
    from mammozoo.config.names import reference_to
    from mammozoo.training import experiment

    if doubled := set(settings or {}) & set(more):
        raise UsageError(f"'{min(doubled)}' is set twice: in the dictionary of settings and by name. Give it once.")
    wanted = {
        key: f"{'run:' if key == 'weights' else ''}{value}" if isinstance(value, Path) else value
        for key, value in {**(settings or {}), **more}.items()
    }
    resolved = loading.load(reference_to(recipe) if isinstance(recipe, Path) else recipe, wanted)
    return experiment.train(resolved, None if out is None else Path(out), progress)
