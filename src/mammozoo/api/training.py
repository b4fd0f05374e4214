"""A training, from a recipe or a folder to a run; and a search, whose points are proposed one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.progress import Progress
    from mammozoo.training.run_directory import RunDirectory
    from mammozoo.training.search import Search


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
    from mammozoo.training import experiment

    return experiment.train(_resolved(recipe, settings, more), None if out is None else Path(out), progress)


def search(
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    out: str | Path,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    **more: Any,
) -> contextlib.AbstractContextManager[Search]:
    """A run whose points are proposed one after another; arguments as for `train`. An `out` that holds a search goes on.

        with mammozoo.search("own", root="BUSI", out="runs/search") as search:
            for rate in (1e-4, 1e-3):
                print(search.value({"optimizer.lr": rate, "backbone": "resnet18"}))  # the validation loss, or the `monitor`
        search.run.scores

    The first point is the recipe as it stands. At the end of the block the point with the best value on validation is scored on
    the test part. Once `stop` returns True, the batch under way is the last.

    Raises:
        UsageError: the recipe has a grid, repeats, stages or several splits.
        ConflictError: `out` holds something else than a search, or one that is complete.
        MammozooError: as `train`.
    """
    from mammozoo.training.search import search

    return search(_resolved(recipe, settings, more), Path(out), progress, stop=stop)


def _resolved(
    recipe: str | Path | Recipe | None, settings: Mapping[str, Any] | None, more: Mapping[str, Any]
) -> Recipe:
    from mammozoo.config import loading
    from mammozoo.config.names import reference_to

    if doubled := set(settings or {}) & set(more):
        raise UsageError(f"'{min(doubled)}' is set twice: in the dictionary of settings and by name. Give it once.")
    wanted = {
        key: f"{'run:' if key == 'weights' else ''}{value}" if isinstance(value, Path) else value
        for key, value in {**(settings or {}), **more}.items()
    }
    return loading.load(reference_to(recipe) if isinstance(recipe, Path) else recipe, wanted)
