"""A run whose fits are trained by processes of their own, one job each, and merged once all are there.

The jobs know nothing of each other but the folder. The first begins the run, the others join it; each claims its fit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Root
from mammozoo.data.joined import places
from mammozoo.errors import ConflictError, IncompatibleError, NotFoundError
from mammozoo.files import refuse_to_replace
from mammozoo.models.device import choose_engine
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.training.distributed import current_context
from mammozoo.training.experiment import marked, prepare_and_train, write_facts
from mammozoo.training.finish import finish
from mammozoo.training.fit_spec import all_fits, needed
from mammozoo.training.fold import FailedFit, FitResult, read_attempt
from mammozoo.training.holding import LOCK
from mammozoo.training.parallel import ONE, Jobs
from mammozoo.training.prepare import PreparedRun, prepare
from mammozoo.training.run_directory import RunDirectory, environment, refuse_occupied
from mammozoo.training.unchanged import check_unchanged

_BEGINNING = 10.0  # seconds that another process may take to begin the run

#: Fit → how it ended; None if it has not.
Ended = dict[str, FitResult | FailedFit | None]


def train_fits(
    recipe: Recipe,
    fits: str,
    out: Path,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = ONE,
) -> tuple[RunDirectory, Ended]:
    """Train some fits of the run in `out`, as `chosen_fits` reads `fits`, and the stages before them; not those that have ended.

    Several processes may do so at once, each with fits of its own. What they leave is what one process would.

    Returns:
        The run, and how each of its fits has ended; of several processes at one fit the first knows.

    Raises:
        NotFoundError: it has no such fit.
        ConflictError: another process trains one of them or the whole run, the run is complete, or `out` holds something else.
        IncompatibleError: the run there has another recipe, data or precision.
        Stopped: `stop` returned True.
    """
    inputs = places(recipe.root, *(stage.root for stage in recipe.stages))
    if current_context().is_main:
        _refuse_foreign(out)
        refuse_to_replace(out / ".new", None, inputs)
    begun: list[PreparedRun] = []

    def join(prepared: PreparedRun) -> RunDirectory:
        begun.append(prepared)
        names = [spec.name for spec in needed(all_fits(prepared), fits)[-1][1]]
        until = time.monotonic() + _BEGINNING
        while (run := _begun(out)) is None:
            try:
                _begin(prepared, out, jobs)
            except ConflictError:  # another process does so
                _refuse_foreign(out)
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
        check_unchanged(run, prepared, fits)
        _check_same(run, prepared)
        return RunDirectory.join(out, os.path.commonpath(names))

    run = prepare_and_train(recipe, join, progress, stop, jobs, fits)
    return run, ended(begun[0], out) if begun else {}


def ended(prepared: PreparedRun, run: Path) -> Ended:
    """How the fits of the run in a folder have ended, without their stages; there may be no run yet."""
    return {spec.name: read_attempt(prepared, spec, run) for spec in all_fits(prepared)[-1][1]}


def merge_last(path: Path, ended: Ended, progress: Progress | None = None) -> RunDirectory | None:
    """`merge`, if all fits have ended and no other process does so or has to; of several that ask after their last fit one gets it.

    A process that still shares the run's lock asks later itself, so that none is left out.
    """
    try:
        return merge(path, progress) if all(ended.values()) else None
    except ConflictError:
        return None


def merge(path: Path, progress: Progress | None = None, *, root: Root | None = None) -> RunDirectory:
    """Choose among the complete fits of a run, score and describe it, as `train` does after the last one; trains nothing.

    `root` is where the data are now, if they have moved.

    Raises:
        NotFoundError: there is no run, or fits are missing.
        ConflictError: it is complete, or a process trains some of it.
        IncompatibleError, NotVerifiedError: a fit of it depends on another recipe, data, split or version than the run, or a file
            of it is not the one that the fit has written.
    """
    progress = progress or Progress()
    run = RunDirectory.open(path)
    run.refuse_complete()
    run.hold()
    try:
        # This machine need not have the card that trained the fits.
        here = {"device": "auto"} | ({} if root is None else {"root": root})
        prepared = prepare(run.recipe.model_copy(update=here), progress)
        there = choose_engine("cpu", run.facts.get("precision", prepared.engine.precision))
        check_unchanged(run, replace(prepared, engine=there))
        results = ended(prepared, path)
        if missing := [name for name, result in results.items() if result is None]:
            raise NotFoundError(
                f"{len(missing)} of {len(results)} fits are missing in '{path}': {', '.join(missing[:5])}"
                f"{' …' if len(missing) > 5 else ''}. Train each with --fit NAME, or all with: mammozoo train --resume {path}"
            )
        run.resume()
        with marked(prepared, run):
            finish(prepared, run, [result for result in results.values() if result], progress.clock)
        registry().notify("run_end", run=run)
        return run
    finally:
        run.release()


def _begun(out: Path) -> RunDirectory | None:
    """The run, once it is written as far as its fits need it: the splits last, and the facts not by a process that came late."""
    if not (out / "splits.json").is_file():
        return None
    run = RunDirectory.open(out)
    return run if "precision" in run.facts else None


def _begin(prepared: PreparedRun, out: Path, jobs: Jobs) -> None:
    """Make the run, or end what a process that was killed has left of it."""
    made = (out / "run.json").is_file()
    run = RunDirectory.open(out) if made else RunDirectory.create(prepared.recipe, out)
    try:
        run.hold()
        check_unchanged(run, prepared)
        write_facts(prepared, run, current_context().size, jobs)
    finally:
        run.release()


def _refuse_foreign(out: Path) -> None:
    """Raise ConflictError if the folder holds something, and no run that has begun."""
    try:
        refuse_occupied(out)
    except ConflictError:  # looked for afterwards, since another process may have begun a moment ago
        if not any((out / name).exists() for name in (LOCK, "recipe.yaml", "run.json")):
            raise


def _check_same(run: RunDirectory, prepared: PreparedRun) -> None:
    """Raise IncompatibleError if fits of this machine would differ from those of the one that has begun the run."""
    was = {"precision": run.facts.get("precision"), **_versions(run.facts)}
    now = {"precision": prepared.engine.precision, **_versions(environment(prepared.recipe))}
    if others := [name for name in {**was, **now} if was.get(name) != now.get(name)]:
        told = ", ".join(f"{name} {was.get(name)} there and {now.get(name)} here" for name in others)
        raise IncompatibleError(
            f"The fits of '{run.path}' would not be consistent: {told}. Train all of them in one environment."
        )


def _versions(facts: dict[str, Any]) -> dict[str, str]:
    """mammozoo, torch and the plugins of a run → version."""
    return {
        **facts.get("plugins", {}),
        "mammozoo": facts["mammozoo"],
        "torch": facts.get("versions", {}).get("torch", ""),
    }
