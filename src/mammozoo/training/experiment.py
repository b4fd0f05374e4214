"""From a recipe to a complete run: `train`, `resume` and `extend`.

prepare(recipe) → PreparedRun → train_fold(prepared, spec) for every fit → finish(results)
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mammozoo.config.recipe import Recipe
from mammozoo.data.duplicates.matching import AGREE, NEAR, SAME
from mammozoo.data.joined import places
from mammozoo.data.splits.exclusions import reasons, write_exclusions
from mammozoo.data.splits.files import write_splits
from mammozoo.errors import (
    FailedError,
    MammozooError,
    NotFoundError,
    UsageError,
    memory_error,
    set_scene,
)  # fmt: skip
from mammozoo.files import disk_error, refuse_to_replace
from mammozoo.plugins import registry
from mammozoo.plugins.blame import blame
from mammozoo.progress import Progress
from mammozoo.training.callbacks import Callbacks, told
from mammozoo.training.checkpoint import STATE, Checkpointer, Stopped
from mammozoo.training.compiled import require_compiler
from mammozoo.training.distributed import (
    check_batches,
    check_images,
    current_context,
    destroy_distributed,
    init_distributed,
    is_connection_error,
    restarted,
)
from mammozoo.training.estimate import estimate
from mammozoo.training.extend import recipe_of_more, reopened
from mammozoo.training.finish import finish
from mammozoo.training.fit_spec import FitSpec, all_fits, fit_specs, needed, state_key
from mammozoo.training.fold import FailedFit, FitResult, claimed, read_attempt, try_fold
from mammozoo.training.parallel import ONE, Jobs, train_parallel
from mammozoo.training.prepare import PreparedRun, prepare
from mammozoo.training.run_directory import RunDirectory, refuse_occupied
from mammozoo.training.unchanged import check_unchanged

log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    out: Path | None = None,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = ONE,
) -> RunDirectory:
    """Train by a recipe and return the run directory.

    A run that fails or is killed keeps its folder, for `resume`. Once `stop` returns True, the batch under way is the last.

    Raises:
        MammozooError: with the reason.
        Stopped: `stop` returned True.
        KeyboardInterrupt: after the run was marked.
    """
    if begun := restarted(out):
        return resume(begun, progress, stop=stop, jobs=jobs)
    _refuse_occupied(out, *places(recipe.root, *(stage.root for stage in recipe.stages)))
    return prepare_and_train(recipe, lambda prepared: RunDirectory.create(prepared.recipe, out), progress, stop, jobs)


def resume(
    path: Path,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = ONE,
) -> RunDirectory:
    """Continue the run at `path`, however it ended; the result has the bytes of one that was never interrupted.

    Raises:
        NotFoundError: there is no run.
        ConflictError: it is complete, or another process trains it.
        IncompatibleError: what a complete fit of it depends on has changed: its data, recipe, precision or version.
        NotFoundError, NotVerifiedError: a file of a complete fit is missing, or not the one that the fit has written.
    """
    run = RunDirectory.open(path)

    def reopen(prepared: PreparedRun) -> RunDirectory:
        check_unchanged(run, prepared)
        run.resume()
        return run

    run.refuse_complete()
    try:
        if current_context().is_main:
            run.hold()  # before anything is prepared
        return prepare_and_train(run.recipe, reopen, progress, stop, jobs)
    finally:
        run.release()


def extend(
    path: Path,
    epochs: int,
    out: Path | None = None,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = ONE,
) -> RunDirectory:
    """The complete run at `path` with more epochs, in a new folder, with the bytes of a run that had them from the start.

    Raises:
        NotFoundError: there is no run.
        ConflictError: it is not complete.
        UsageError: it did not keep its states, or its schedule depends on the number of epochs.
        IncompatibleError: it was trained with another version, or its data or recipe have changed.
    """
    if begun := restarted(out):
        return resume(begun, progress, stop=stop, jobs=jobs)
    short = RunDirectory.open(path)
    recipe = recipe_of_more(short, epochs)
    _refuse_occupied(out, path)

    def copy_states(prepared: PreparedRun) -> RunDirectory:
        before = replace(prepared, recipe=short.recipe)
        check_unchanged(short, before)
        states = [(spec, Checkpointer(path / spec.name / STATE, state_key(before, spec))) for spec in fit_specs(before)]
        if missing := [state.path for _, state in states if not state.path.is_file()]:
            raise NotFoundError(f"'{missing[0]}' is missing, so the run '{path}' cannot be extended.")
        states[0][1].load()  # a state that does not fit is refused before there is a folder
        run = RunDirectory.create(prepared.recipe, out)
        for (spec, state), longer_spec in zip(states, fit_specs(prepared), strict=True):
            if (saved := state.load()) is not None:
                target = Checkpointer(run.path / longer_spec.name / STATE, state_key(prepared, longer_spec))
                target.save(saved[0], reopened(saved[1], spec.recipe.all_phases()))
        run.save(extends={"epochs": sum(phase.epochs for phase in short.recipe.all_phases()), **short.facts["model"]})
        return run

    return prepare_and_train(recipe, copy_states, progress, stop, jobs)


def _refuse_occupied(out: Path | None, *inputs: Path | None) -> None:
    if current_context().is_main:
        refuse_occupied(out := out or Path("runs/.new"))
        refuse_to_replace(out / "run.json", None, inputs)


def prepare_and_train(
    recipe: Recipe,
    make_run: Callable[[PreparedRun], RunDirectory],
    progress: Progress | None,
    stop: Callable[[], bool],
    jobs: Jobs,
    fits: str = "",
) -> RunDirectory:
    """Prepare, make the run directory, train its `fits` (or all, and score); in processes besides the main one, train along."""
    dist = init_distributed(recipe.device)
    try:
        if dist.size > 1 and jobs.count > 1:
            raise UsageError("Several processes at one fit, or several fits at once: leave --gpus or --jobs out.")
        check_batches(recipe, dist.size)
        progress = progress if progress is not None and dist.is_main else Progress()
        prepared = prepare(recipe, progress)
        check_images([split for one in (*prepared.stages, prepared) for split in one.splits], dist.size)
        # A strategy or head that refuses the network does so before there is a folder.
        for point in prepared.distinct():
            prepared.of(point).build(point)
        if recipe.compile:
            require_compiler(prepared.engine.device)
        if dist.is_main:
            if line := estimate(prepared, fits):
                progress.note(line)
            run = make_run(prepared)

            with marked(prepared, run, dist.size):
                _carry_out(prepared, run, Callbacks(progress, told(run), stop, dist), jobs, fits)
            if not run.part:
                registry().notify("run_end", run=run)
            return run
        run = RunDirectory(Path(), recipe, {})  # never written
        try:
            _carry_out(prepared, run, Callbacks(dist=dist), jobs, fits)
        except RuntimeError as error:
            if is_connection_error(error):
                raise _connection_lost(error) from error
            raise
        return run
    finally:
        destroy_distributed()


@contextlib.contextmanager
def marked(prepared: PreparedRun, run: RunDirectory, processes: int = 1) -> Iterator[None]:
    """Mark in the run how it ended; what is raised becomes one of our errors, if its reason is known."""
    try:
        yield
        run.release()
    except KeyboardInterrupt:
        run.close("interrupted")
        raise
    except Stopped:
        run.close("interrupted", "stopped by a signal")
        raise Stopped(run.path.as_posix()) from None
    except MammozooError as error:
        run.close("failed", str(error))
        raise
    except BaseException as error:
        # The traceback goes to log.txt alone: the terminal shows one paragraph.
        log.info("The training ended with an error.", exc_info=error)
        known: MammozooError | None = memory_error(error, prepared.recipe.batch) or blame(error)
        if known is None and isinstance(error, OSError):
            known = disk_error(error, run.path)
        if known is None and processes > 1 and is_connection_error(error):
            known = _connection_lost(error)
        run.close("failed", str(known or f"{type(error).__name__}: {error}"))
        if known is not None:
            raise known from error
        set_scene(error, run=None if run.part else run.path, device=str(prepared.engine.device))
        raise


def _connection_lost(error: BaseException) -> FailedError:
    first = str(error).partition("\n")[0]
    return FailedError(f"Another process of the training ended, so this one cannot continue ({first}).")


def _carry_out(prepared: PreparedRun, run: RunDirectory, callbacks: Callbacks, jobs: Jobs, fits: str) -> None:
    whole = callbacks.dist.is_main and not run.part
    if whole:
        write_facts(prepared, run, callbacks.dist.size, jobs)
    for stage, specs in needed(all_fits(prepared), fits):  # the last of them is the run itself
        results = _train_missing(stage, specs, run, callbacks, jobs)
    if whole:
        finish(prepared, run, [results[spec.name] for spec in specs], callbacks.progress.clock)


def write_facts(prepared: PreparedRun, run: RunDirectory, processes: int, jobs: Jobs) -> None:
    """Write into a run what it is made of, and its splits at last."""
    data = prepared.data
    run.save(
        device=str(prepared.engine.device),
        precision=prepared.engine.precision,
        threads=torch.get_num_threads(),
        processes=processes,
        jobs=jobs.count,
        stamps=prepared.stamps,
        weights=prepared.lineage.weights,
        images=len(data.samples),
        groups=len(np.unique(data.groups)),
        data_sha256=[one.data.sha256 for one in (*prepared.stages, prepared)],
        near_duplicates={"keypoints": AGREE, "bits": NEAR, "fine": SAME},
        splits=prepared.split_counts(),
        **({"stages": prepared.stage_counts()} if prepared.stages else {}),
        **({"excluded": reasons(data.excluded)} if data.excluded else {}),
    )
    if data.excluded:
        write_exclusions(run.path / "excluded.csv", data.excluded)
    write_splits(run.path / "splits.json", prepared.splits, data.names)


def _train_missing(
    prepared: PreparedRun, specs: list[FitSpec], run: RunDirectory, callbacks: Callbacks, jobs: Jobs
) -> dict[str, FitResult | FailedFit]:
    """How all fits ended, by name; those that have ended in the run are read instead of repeated."""
    dist = callbacks.dist
    results: dict[str, FitResult | FailedFit] = {}
    with contextlib.ExitStack() as claims:
        if dist.is_main:
            if run.part:
                stop = claims.enter_context(claimed(prepared, specs, run.path, callbacks.stop))
                callbacks = replace(callbacks, stop=stop)
            results = {s.name: result for s in specs if (result := read_attempt(prepared, s, run.path)) is not None}
        complete = set(dist.broadcast(list(results)))
        missing = [spec for spec in specs if spec.name not in complete]
        elsewhere = jobs.backend != "loky" and missing  # also one fit: this may be a login node
        if elsewhere or (jobs.count > 1 and len(missing) > 1):
            return results | train_parallel(prepared, missing, run, callbacks, jobs)
        for spec in missing:
            if (result := try_fold(prepared, spec, run.path, callbacks)) is not None:
                results[spec.name] = result
            if isinstance(result, FailedFit):
                callbacks.progress.note(f"  {spec.name}: {result.reason}")
    return results
