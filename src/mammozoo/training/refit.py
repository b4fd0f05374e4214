"""One model trained on every image of a complete run, in RUN/refit.

The recipe is the run's, at the point with the best validation value. It trains for as many epochs as the fits of that point had
chosen on average, and keeps the last one. Temperature, threshold and band are those of the fits together, as in RUN/ensemble:
no image is left to choose them on, and none to score the model. Its card shows the scores of the run, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean

import numpy as np
import torch

from mammozoo.config.sections import Root
from mammozoo.data.splits.make import Split
from mammozoo.errors import ConflictError, UsageError
from mammozoo.files import write_table
from mammozoo.models.config import Calibration
from mammozoo.models.factory import round_weights, save_model
from mammozoo.models.randomness import seeded
from mammozoo.progress import Progress
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import STATE, Checkpointer, Stopped
from mammozoo.training.feed import TrainingData
from mammozoo.training.fit_spec import FitSpec, fit_specs, state_key
from mammozoo.training.fold import FitResult, read_attempt
from mammozoo.training.history import history_table
from mammozoo.training.prepare import PreparedRun, prepare
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.together import joint_config, used_images, write_about
from mammozoo.training.trainer import Trainer
from mammozoo.training.unchanged import check_unchanged
from mammozoo.training.validation import Monitor
from mammozoo.zoo.registry import REFIT


def refit(
    path: Path,
    progress: Progress | None = None,
    *,
    root: Root | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train the model and return its folder; one that was stopped goes on, one that is complete is not trained again.

    `root` is where the data are now, if they have moved.

    Raises:
        NotFoundError: there is no run.
        ConflictError: it is not complete, was refitted before, or another process is at it.
        UsageError: it has earlier stages, or its learning rate depends on validation.
        IncompatibleError: its data, recipe, precision or version have changed.
        Stopped: `stop` returned True.
    """
    run, progress = RunDirectory.open(path), progress or Progress()
    folder = run.path / REFIT
    if run.facts.get("status") != "done":
        raise ConflictError(f"The run '{path}' is not complete. Continue with: mammozoo train --resume {path}")
    if (folder / "config.json").is_file():
        raise ConflictError(f"'{folder}' is complete; there is nothing to train.")
    if run.recipe.stages:
        raise UsageError(
            f"The run '{path}' has earlier stages, and --refit trains the last one alone. Use its ensemble."
        )
    if any(point.schedule.kind == "plateau" for _, point in run.recipe.points()):
        raise UsageError(
            f"The learning rate of '{path}' follows validation (plateau), and --refit leaves no image to validate on."
        )
    run.hold()
    try:
        moved = {} if root is None else {"root": root}
        prepared = prepare(run.recipe.model_copy(update=moved), progress)
        check_unchanged(run, prepared)
        results = [read_attempt(prepared, spec, run.path) for spec in fit_specs(prepared)]
        fits = best_point(
            [result for result in results if isinstance(result, FitResult)], Monitor(run.recipe.monitor).sign
        )
        return _train(prepared, run, folder, fits, progress, stop)
    finally:
        run.release()


def best_point(fits: Sequence[FitResult], sign: int) -> list[FitResult]:
    """The fits of the point of the grid with the best mean validation value; `sign` is that of `Monitor`."""
    points: dict[str, list[FitResult]] = {}
    for fit in fits:
        points.setdefault(repr(fit.spec.tried), []).append(fit)
    most = max(map(len, points.values()))  # a point that failed in a fold has fewer
    return max(
        (point for point in points.values() if len(point) == most),
        key=lambda point: fmean(f.monitor for f in point) * sign,
    )


def _train(
    prepared: PreparedRun,
    run: RunDirectory,
    folder: Path,
    fits: Sequence[FitResult],
    progress: Progress,
    stop: Callable[[], bool],
) -> Path:
    torch.set_flush_denormal(True)
    torch.backends.cudnn.deterministic = True
    recipe = fits[0].spec.recipe
    prepared = prepared.of(recipe)
    epochs = max(1, round(fmean([row for row in fit.history if row.best][-1].epoch for fit in fits)))
    used, none = used_images(prepared), np.array([], np.intp)
    spec = FitSpec(REFIT, Split(REFIT, used, none, none), recipe, {})
    model, strategy = prepared.build(recipe)
    if prepared.recipe.split.leave_out:
        progress.note(
            "Images left out for testing are also used in training: no part of this data set is external to this model."
        )
    progress.note(f"{len(used)} images, {epochs} epochs: as many as the {len(fits)} fits chose on average.")
    progress.start("training on all images", epochs * len(used))
    checkpointer = Checkpointer(folder / STATE, state_key(prepared, spec))
    with seeded(recipe.seed, prepared.engine.device):
        data = TrainingData(prepared.data.images.pixels, prepared.data.labels, prepared.data.names, spec.split)
        trainer = Trainer(model, strategy, recipe, data, prepared.engine, Callbacks(progress, stop=stop), checkpointer)
        history = trainer.fit(epochs)
    if stop():
        raise Stopped
    dtype = torch.float16 if recipe.store == "fp16" else torch.float32
    if dtype == torch.float16:
        round_weights(model, dtype)
    config, _ = joint_config(prepared, fits, used, run)
    calibration = None
    if config.calibration:
        mean = geometric_mean(fit.config.temperature for fit in fits)
        calibration = Calibration(temperature=mean, chosen_on="validation, the mean of the fits'")
    config = config.model_copy(
        update={
            "strategy": recipe.strategy,
            "head": recipe.head,
            "calibration": calibration,
            "scores_of": "The scores of the run, whose models had not seen the images that they were tested on. This model has "
            "seen all of them, so that none is left to score it.",
        }
    )
    write_table(folder / "history.csv", history_table(history))
    save_model(model, config, folder, dtype)
    point = "".join(f", {key} {value}" for key, value in fits[0].spec.tried.items())
    how = f"this model trained on all {len(used)} of them{point}, epochs: {epochs}, the mean of what validation had chosen"
    write_about(folder, config, run, how)
    checkpointer.drop()
    return folder
