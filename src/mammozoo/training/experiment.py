"""From a plan to a run: what `train` does, and `--resume` and `--extend`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mammozoo.config.recipe import Recipe
from mammozoo.data.duplicates.matching import ALIKE, NEAR, NEAR_VIEW
from mammozoo.data.splits.files import write_splits
from mammozoo.errors import (
    ConflictError,
    FailedError,
    MammozooError,
    NotFoundError,
    UsageError,
    memory_error,
    set_scene,
)
from mammozoo.files import disk_error
from mammozoo.plugins import registry
from mammozoo.plugins.blame import blame
from mammozoo.progress import Progress
from mammozoo.training.checkpoint import STATE, Checkpointer, Stopped
from mammozoo.training.compiled import require_compiler
from mammozoo.training.distributed import (
    DistContext,
    broken_off,
    check_batches,
    current_context,
    destroy_distributed,
    init_distributed,
)
from mammozoo.training.extend import longer, reopened
from mammozoo.training.finish import conclude
from mammozoo.training.fold import Callbacks, FitResult, FitSpec, attempts, carry_out, finished, state_key, waves
from mammozoo.training.parallel import spread
from mammozoo.training.prepare import PreparedRun, plan
from mammozoo.training.run_directory import RunDirectory, refuse_occupied
from mammozoo.training.trainer import EpochRow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Jobs:
    """How many fits at once, and who runs them (`mammozoo.training.parallel`)."""

    count: int = 1
    backend: str = "loky"


def train(
    recipe: Recipe,
    out: Path | None = None,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = Jobs(),
) -> RunDirectory:
    """Carry out a recipe; the result is its run directory.

    A run that fails, is interrupted or killed keeps its folder; `resume` goes on with it. Once `stop` says so, training ends after
    the batch under way.

    Raises:
        MammozooError: with the reason.
        Stopped: `stop` said so.
        KeyboardInterrupt: after the run was marked.
    """
    if out is not None and current_context().leads:
        refuse_occupied(out)
    return _train(recipe, lambda prepared: RunDirectory.create(recipe, out), progress or Progress(), stop, jobs)


def resume(
    path: Path,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = Jobs(),
) -> RunDirectory:
    """Go on with the run at `path`, however it ended; the result has the bytes of one that was never interrupted.

    Raises:
        NotFoundError: there is no run.
        ConflictError: it is complete.
        IncompatibleError: it was begun with another version, or its data have changed.
    """
    run = RunDirectory.open(path)
    if run.facts.get("status") == "done":
        run.resume()  # refuses, before anything is planned

    def again(prepared: PreparedRun) -> RunDirectory:
        run.resume()
        return run

    return _train(run.recipe, again, progress or Progress(), stop, jobs)


def extend(
    path: Path,
    epochs: int,
    out: Path | None = None,
    progress: Progress | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = Jobs(),
) -> RunDirectory:
    """The complete run at `path` with more epochs, in a folder of its own: with the bytes of a run that had them from the start.

    Raises:
        NotFoundError: there is no run.
        ConflictError: it is not complete.
        UsageError: it did not keep its states, or its schedule depends on the number of epochs.
        IncompatibleError: it was trained with another version, or its data have changed.
    """
    before = RunDirectory.open(path)
    if before.facts.get("status") != "done":
        raise ConflictError(f"The run '{path}' is not complete. Go on with: mammozoo train --resume {path}")
    if before.recipe.stages:
        raise UsageError(
            f"The run '{path}' has earlier stages, and those cannot be extended with it. Train again with --epochs {epochs}, or "
            f"start a new run with --weights {path}."
        )
    recipe = longer(before.recipe, epochs)
    if not before.recipe.keep_state:
        raise UsageError(
            f"The run '{path}' did not keep its states, so it cannot be extended: that takes --keep-state when it is trained. "
            f"Train again with --epochs {epochs}, or start a new run with --weights {path}."
        )
    if out is not None and current_context().leads:
        refuse_occupied(out)

    def begin(prepared: PreparedRun) -> RunDirectory:
        was = replace(prepared, recipe=before.recipe)
        keepers = [
            (Checkpointer(path / a.name / STATE, state_key(was, a)), a.recipe.all_phases()) for a in attempts(was)
        ]
        if missing := [keeper.path for keeper, _ in keepers if not keeper.path.is_file()]:
            raise NotFoundError(f"'{missing[0]}' is missing, so the run '{path}' cannot be extended.")
        keepers[0][0].load()  # what does not fit is refused before there is a folder
        run = RunDirectory.create(recipe, out)
        for (keeper, phases), attempt in zip(keepers, attempts(prepared), strict=True):
            if (state := keeper.load()) is not None:
                tensors, facts = state
                Checkpointer(run.path / attempt.name / STATE, state_key(prepared, attempt)).save(
                    tensors, reopened(facts, phases)
                )
        run.save(extends={"epochs": sum(phase.epochs for phase in before.recipe.all_phases()), **before.facts["model"]})
        return run

    return _train(recipe, begin, progress or Progress(), stop, jobs)


def _train(
    recipe: Recipe,
    begin: Callable[[PreparedRun], RunDirectory],
    progress: Progress,
    stop: Callable[[], bool],
    jobs: Jobs,
) -> RunDirectory:
    team = init_distributed(recipe.device)
    try:
        return _train_in(team, recipe, begin, progress, stop, jobs)
    finally:
        destroy_distributed()


def _train_in(
    team: DistContext,
    recipe: Recipe,
    begin: Callable[[PreparedRun], RunDirectory],
    progress: Progress,
    stop: Callable[[], bool],
    jobs: Jobs,
) -> RunDirectory:
    if team.size > 1 and jobs.count > 1:
        raise UsageError("Several processes at one fit, or several fits at once: leave --gpus or --jobs out.")
    check_batches(recipe, team.size)
    if not team.leads:
        progress = Progress()
    prepared = plan(recipe, progress)
    prepared.build()  # what the strategy or the head refuses, they refuse before there is a folder
    if recipe.compile:
        require_compiler(prepared.engine.device)
    if not team.leads:
        idle = RunDirectory(Path(), recipe, {})  # the leading process writes; this one trains along
        try:
            _carry_out(prepared, idle, Callbacks(team=team), jobs)
        except RuntimeError as error:
            if broken_off(error):
                raise _left_alone(error) from error
            raise
        return idle
    run = begin(prepared)

    def on_epoch(row: EpochRow) -> None:
        registry().notify("epoch_end", run=run, row=row)

    try:
        _carry_out(prepared, run, Callbacks(progress, on_epoch, stop, team), jobs)
    except KeyboardInterrupt:
        run.close("interrupted")
        raise
    except Stopped:
        run.close("interrupted", "stopped by a signal")
        raise Stopped(run.path.as_posix()) from None
    except (MammozooError, OSError) as error:
        known = error if isinstance(error, MammozooError) else blame(error) or disk_error(error, run.path)
        _keep_traceback(error)
        run.close("failed", str(known))
        raise known from error
    except BaseException as error:
        _keep_traceback(error)
        short = memory_error(error, recipe.batch)
        run.close("failed", str(short or blame(error) or f"{type(error).__name__}: {error}"))
        if short is not None:
            raise short from error
        if team.size > 1 and broken_off(error):
            raise _left_alone(error) from error
        set_scene(error, run=run.path, device=str(prepared.engine.device))
        raise
    registry().notify("run_end", run=run)
    return run


def _keep_traceback(error: BaseException) -> None:
    """In log.txt alone: what the terminal shows is one paragraph, and after hours nobody wants to try again for the rest."""
    if not isinstance(error, MammozooError):
        log.info("The training ended with an error.", exc_info=error)


def _left_alone(error: BaseException) -> FailedError:
    """What a process of a team says when it waits in vain for another one."""
    first = str(error).partition("\n")[0]
    return FailedError(f"Another process of the team ended, so this one cannot go on ({first}).")


def _carry_out(prepared: PreparedRun, run: RunDirectory, around: Callbacks, jobs: Jobs) -> None:
    recipe, data, team = prepared.recipe, prepared.data, around.team
    torch.set_flush_denormal(True)  # vanishing activations would slow a processor down tenfold
    if team.leads:
        run.save(
            device=str(prepared.engine.device),
            precision=prepared.engine.precision,
            threads=torch.get_num_threads(),
            processes=team.size,
            jobs=jobs.count,
            stamps=prepared.stamps,
            weights=prepared.lineage.weights,
            images=len(data.samples),
            groups=len(np.unique(data.groups)),
            near_duplicates={"bits": NEAR, "view_bits": NEAR_VIEW, "correlation": ALIKE},
            splits=prepared.split_counts(),
            **({"stages": prepared.stage_counts()} if prepared.stages else {}),
        )
        write_splits(run.path / "splits.json", prepared.splits, data.names)
    *earlier, (own, every) = waves(prepared)
    for stage, fits in earlier:
        _complete(stage, fits, run, around, jobs)
    complete = _complete(own, every, run, around, jobs)
    if team.leads:
        conclude(recipe, run, [complete[attempt.name] for attempt in every])


def _complete(
    prepared: PreparedRun, every: list[FitSpec], run: RunDirectory, around: Callbacks, jobs: Jobs
) -> dict[str, FitResult]:
    """All of these fits, by name; those that the run already holds are not done again."""
    team = around.team
    complete: dict[str, FitResult] = {}
    if team.leads:
        complete = {a.name: t for a in every if (t := finished(run.path / a.name, a)) is not None}
    known = set(team.tell(list(complete)))
    missing = [attempt for attempt in every if attempt.name not in known]
    if jobs.count > 1 and len(missing) > 1:
        return complete | _side_by_side(prepared, run, missing, around, jobs)
    for attempt in missing:
        trial = carry_out(prepared, attempt, run.path / attempt.name, around)
        if trial is not None:
            complete[attempt.name] = trial
    return complete


def _side_by_side(
    prepared: PreparedRun, run: RunDirectory, missing: list[FitSpec], around: Callbacks, jobs: Jobs
) -> dict[str, FitResult]:
    """Fits in processes of their own; their epochs are told when a fit is complete."""
    around.progress.start(f"training, {jobs.count} at once", len(missing), "fits")
    tasks = [(prepared, attempt, run.path / attempt.name, Callbacks()) for attempt in missing]
    complete = {}
    for trial in spread(carry_out, tasks, jobs.count, jobs.backend, prepared.engine.device):
        for row in trial.history:
            around.on_epoch(row)
        around.progress.note(f"  {trial.attempt.name}: best {prepared.recipe.monitor} {trial.monitor:.4f}")
        around.progress.advance()
        complete[trial.attempt.name] = trial
    return complete
