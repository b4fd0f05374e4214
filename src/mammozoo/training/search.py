"""A run whose points are proposed one after another, each after the values of those before it; chosen on validation as a grid is.

The run is one whose `grid` is a list of points, which grows: `train --resume` completes it, reports and cards count its points.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from mammozoo.config.recipe import Recipe, validated
from mammozoo.data.joined import places
from mammozoo.errors import ConflictError, UsageError
from mammozoo.files import refuse_to_replace
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.training.callbacks import Callbacks, told
from mammozoo.training.checkpoint import PrunedError
from mammozoo.training.experiment import marked, write_facts
from mammozoo.training.finish import finish
from mammozoo.training.fit_spec import FitSpec, fit_specs
from mammozoo.training.fold import FailedFit, FitResult, read_attempt, try_fold
from mammozoo.training.parallel import ONE
from mammozoo.training.prepare import PreparedRun, prepare
from mammozoo.training.run_directory import RunDirectory, refuse_occupied
from mammozoo.training.starts import start_of
from mammozoo.training.unchanged import check_unchanged
from mammozoo.training.validation import Monitor


class Search:
    """A search under way; `run` is its run, complete once the block of `search` is left.

    Attributes:
        run: its folder, recipe and facts.
        direction: whether a higher value is better.
    """

    def __init__(self, prepared: PreparedRun, run: RunDirectory, callbacks: Callbacks):
        self.run = run
        self.direction: Literal["minimize", "maximize"] = (
            "maximize" if Monitor(prepared.recipe.monitor).sign > 0 else "minimize"
        )
        self._prepared, self._callbacks = prepared, callbacks

    def value(self, settings: Mapping[str, Any]) -> float:
        """Train the recipe with these settings, by dotted key as in a `grid`; the monitored value, nan if it diverged.

        A point that was tried before is not trained again, one that was interrupted goes on from its last epoch.

        Raises:
            PrunedError: a plugin's `epoch_end` ended the fit early, now or before.
            UsageError, IncompatibleError: there are no such settings, or they do not go together; the point is not counted.
            Stopped: `stop` of the search returned True.
        """
        result = self._trained(self._point(dict(settings)))
        if isinstance(result, FailedFit) and result.pruned:
            raise PrunedError(result.reason)
        return result.monitor

    def check(self, settings: Mapping[str, Any]) -> Recipe:
        """The recipe with these settings; UsageError if there are none such. Nothing is built or trained."""
        recipe = self._prepared.recipe
        return validated(recipe.model_dump(mode="json") | {"grid": [dict(settings)]}, recipe.name).points()[0][1]

    def finish(self) -> None:
        """Choose among the points, train those that were interrupted, score the chosen one on the test part."""
        results = [self._trained(spec) for spec in fit_specs(self._prepared)]
        finish(self._prepared, self.run, results, self._callbacks.progress.clock)
        registry().notify("run_end", run=self.run)

    def _point(self, settings: dict[str, Any]) -> FitSpec:
        """The fit of these settings, which are added to the run's points if they are none of them."""
        prepared, recipe = self._prepared, self._prepared.recipe
        assert isinstance(recipe.grid, list)
        point = self.check(settings)
        known = [one for _, one in recipe.points()]
        if point not in known:
            prepared = prepared.with_start(start_of(point), self._callbacks.progress)
            prepared.of(point).build(point)  # refuses what does not go together before the point is counted
            grown = {"grid": [*recipe.grid, settings]}
            self._prepared = replace(prepared, recipe=prepared.recipe.model_copy(update=grown))
            self.run.write_recipe(self.run.recipe.model_copy(update=grown | {"pinned": self._prepared.recipe.pinned}))
        return fit_specs(self._prepared)[known.index(point) if point in known else len(known)]

    def _trained(self, spec: FitSpec) -> FitResult | FailedFit:
        path = self.run.path
        if (result := read_attempt(self._prepared, spec, path)) is None:
            result = try_fold(self._prepared, spec, path, self._callbacks)
        assert result is not None
        return result


@contextlib.contextmanager
def search(
    recipe: Recipe, out: Path, progress: Progress | None = None, *, stop: Callable[[], bool] = lambda: False
) -> Iterator[Search]:
    """Begin a search in the folder `out`, or go on with the one there. Its first point is the recipe as it stands.

    When the block ends well, the best point on validation is scored on the test part, as the run's.

    Raises:
        UsageError: the recipe has a grid, repeats or several splits.
        ConflictError: `out` holds something else, a complete run, or another process writes there.
        IncompatibleError: the search there has another recipe or other data.
    """
    if recipe.grid or recipe.repeats > 1:
        raise UsageError("A search tries points of its own, one fit each: leave `grid` and `repeats` out.")
    refuse_to_replace(out / ".new", None, places(recipe.root, *(stage.root for stage in recipe.stages)))
    progress, begun = progress or Progress(), None
    points: list[dict[str, Any]] = [{}]
    if (out / "run.json").is_file():
        begun = RunDirectory.open(out)
        begun.refuse_complete()
        if not isinstance(begun.recipe.grid, list):
            raise ConflictError(f"The run in '{out}' is not a search. Choose another --out.")
        points = begun.recipe.grid
    else:
        refuse_occupied(out)
    prepared = prepare(recipe.model_copy(update={"grid": points}), progress)
    if len(prepared.splits) > 1 or prepared.stages:
        raise UsageError(
            "A search has one split and no stages: every fold would choose among points chosen on another."
        )
    prepared.build()
    if begun is not None:
        check_unchanged(begun, prepared)
        begun.resume()
    run = begun or RunDirectory.create(prepared.recipe, out)
    with marked(prepared, run):
        write_facts(prepared, run, 1, ONE)
        one = Search(prepared, run, Callbacks(progress, told(run), stop))
        yield one
        one.finish()
