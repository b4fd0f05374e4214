"""One fit of a plan: a model trained on a split, described, saved, and tried on each of its parts.

Everything that a fit leaves behind is in its own folder, so that a fit that is complete is known by its folder, and never done
again.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mammozoo
from mammozoo.config.recipe import Recipe
from mammozoo.data.ood import fit_profile
from mammozoo.data.splits import make as splits
from mammozoo.data.splits.make import Split
from mammozoo.evaluation.abstention import choose_abstention
from mammozoo.evaluation.calibration import fit_temperature
from mammozoo.evaluation.predictions import predictions_of
from mammozoo.evaluation.thresholds import RULES, choose_threshold
from mammozoo.models.config import Calibration, ModelConfig, Threshold, Training, read_config
from mammozoo.models.factory import round_weights, save_model
from mammozoo.models.model import probabilities
from mammozoo.progress import Progress
from mammozoo.training.checkpoint import Checkpointer
from mammozoo.training.distributed import ALONE, DistContext
from mammozoo.training.prepare import PreparedRun
from mammozoo.training.run_directory import plugins_of, read_history, vars_of, write_table
from mammozoo.training.stages import read_start
from mammozoo.training.trainer import EpochRow, fit
from mammozoo.training.training_data import TrainingData
from mammozoo.training.validation import predict

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitSpec:
    """A fit to be done: on a split, by a recipe that is a point of the plan's grid; `name` is its folder in the run.

    `after` names the fit of the stage before, whose weights it starts from; empty where it starts from the plan's own.
    """

    name: str
    split: Split
    recipe: Recipe
    point: dict[str, Any]
    after: str = ""


@dataclass(frozen=True)
class FitResult:
    """A complete fit: its model's config, its history, and its rows of `predictions.csv`; `monitor` is its best epoch's value."""

    attempt: FitSpec
    config: ModelConfig
    history: list[EpochRow]
    rows: list[dict[str, Any]]

    @property
    def monitor(self) -> float:
        """The monitored value of the epoch whose weights remain."""
        return [row for row in self.history if row.best][-1].monitor


@dataclass(frozen=True)
class Callbacks:
    """What a fit is told and asked while it runs: whom to report to, when to stop, with whom it works."""

    progress: Progress = field(default_factory=Progress)
    on_epoch: Callable[[EpochRow], object] = lambda row: None
    stop: Callable[[], bool] = lambda: False
    team: DistContext = ALONE


def attempts(prepared: PreparedRun) -> list[FitSpec]:
    """All fits of a plan: each point of the grid and each repeat on each split, in the order of the splits."""
    points = prepared.recipe.points()
    found = []
    for split in prepared.splits:
        for number, (point, recipe) in enumerate(points):
            name = split.name if len(points) == 1 else f"{split.name}/{number:03d}"
            found.append(FitSpec(name, split, recipe, point))
    return found


def waves(prepared: PreparedRun) -> list[tuple[PreparedRun, list[FitSpec]]]:
    """All fits in the order in which they need each other: those of the first stage, of the second …, and the plan's own.

    Fits of the plan for which a stage would be the very same share it: it is trained once, in RUN/stages where all do, in
    RUN/<split>/stages where all of a split do, else in the folder of the first of them.
    """
    finals = attempts(prepared)
    found: list[tuple[PreparedRun, list[FitSpec]]] = []
    stage_of = dict.fromkeys(
        (final.name for final in finals), ("", "")
    )  # the key and the name of the last stage so far
    for number, stage in enumerate(prepared.stages):
        splits_by_name = {own.name: cut for own, cut in zip(prepared.splits, stage.splits, strict=True)}
        sharing: dict[str, list[FitSpec]] = {}
        for final in finals:
            recipe = final.recipe.of_stage(number)
            cut = splits_by_name[final.split.name]
            # A repeat has a seed of its own; its stages have that of the recipe.
            attempt = FitSpec("", cut, recipe.model_copy(update={"seed": prepared.recipe.seed}), {})
            key = hashlib.sha256((state_key(stage, attempt) + stage_of[final.name][0]).encode()).hexdigest()
            sharing.setdefault(key, []).append(replace(final, recipe=attempt.recipe, split=cut))
        fits = []
        for key, those in sharing.items():
            name = "/".join(part for part in (_common(those, finals), "stages", stage.recipe.name) if part)
            first = those[0]
            fits.append(FitSpec(name, replace(first.split, name=name), first.recipe, {}, stage_of[first.name][1]))
            stage_of |= dict.fromkeys((final.name for final in those), (key, name))
        found.append((stage, fits))
    return [*found, (replace(prepared, stages=()), [replace(final, after=stage_of[final.name][1]) for final in finals])]


def _common(those: list[FitSpec], everyone: list[FitSpec]) -> str:
    """The folder in a run for what these fits share."""
    if len(those) == len(everyone):
        return ""
    split = those[0].split.name
    of_split = {fit.name for fit in everyone if fit.split.name == split}
    return split if of_split <= {fit.name for fit in those} else those[0].name


def finished(folder: Path, attempt: FitSpec) -> FitResult | None:
    """The trial that `folder` holds; None where there is none, or none that came to its end."""
    if not (folder / "predictions.csv").is_file():  # what a trial writes last
        return None
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as handle:
        rows: list[dict[str, Any]] = list(csv.DictReader(handle))
    return FitResult(attempt, read_config(folder), read_history(folder), rows)


def carry_out(prepared: PreparedRun, attempt: FitSpec, folder: Path, around: Callbacks) -> FitResult | None:
    """Train and write the fit's folder; None in a process that does not lead its team.

    A fit that was begun in `folder` goes on from the state that was kept there.

    Raises:
        FailedError, Stopped: as `fit`.
    """
    recipe, split = attempt.recipe, attempt.split
    data, engine, team = prepared.data, prepared.engine, around.team
    if attempt.after:
        run = folder.parents[attempt.name.count("/")]
        prepared = prepared.after(team.tell(read_start(run / attempt.after) if team.leads else None))
    model, chosen = prepared.build(recipe)
    material = TrainingData(data.images.pixels, data.labels, data.names, split)
    epochs = sum(phase.epochs for phase in recipe.all_phases())
    title = "training" if attempt.name == "holdout" else f"training {attempt.name}"
    around.progress.start(title, epochs * len(split.train) // team.size)

    def on_epoch(row: EpochRow) -> None:
        log.info(
            "%s epoch %d: train loss %.4f, val loss %.4f, %s %.4f%s, lr %g",
            row.split,
            row.epoch,
            row.train_loss,
            row.val_loss,
            recipe.monitor,
            row.monitor,
            " (best)" if row.best else "",
            row.lr,
        )
        around.progress.epoch(row)
        around.on_epoch(row)

    keeper = Checkpointer(folder / "last.safetensors", state_key(prepared, attempt), around.stop)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        fitted = fit(
            model, chosen, recipe, material, engine, around.progress.advance, on_epoch, keeper=keeper, team=team
        )
    rows = fitted.history
    stored = torch.float16 if recipe.store == "fp16" else torch.float32
    round_weights(model, stored)
    # What was kept of the trunk is that of the weights as they were trained.
    kept = fitted.kept if stored == torch.float32 else None
    logits = {
        part: predict(model, material, split.part(part), recipe.batch, engine, team, kept)
        for part in splits.PARTS
        if len(split.part(part))  # a stage has no test part
    }
    if not team.leads:
        return None
    config = describe(prepared, attempt, logits["val"])
    write_table(folder / "history.csv", [vars_of(row) for row in rows])
    save_model(model, config, folder, stored)
    write_table(
        folder / "split.csv",
        [
            {"sample": data.names[i], "group": int(data.groups[i]), "part": part}
            for part in splits.PARTS
            for i in split.part(part)
        ],
    )
    table = [
        row
        for part in logits
        for row in predictions_of(
            data,
            attempt.name,
            part,
            split.part(part),
            probabilities(logits[part], config.temperature).numpy(),
            config.cut(),
        ).rows()
    ]
    write_table(folder / "predictions.csv", table)
    keeper.drop()
    return FitResult(attempt, config, rows, table)


def state_key(prepared: PreparedRun, attempt: FitSpec) -> str:
    """What a fit and its kept state depend on: all of the recipe but where the data lie, the split, earlier stages, versions."""
    recipe = attempt.recipe.model_dump_json(
        exclude={"root": True, "requires": True, "workers": True, "device": True, "stages": {"__all__": {"root"}}}
    )
    parts = [
        recipe,
        *(stage.sha256 for stage in prepared.past),
        attempt.split.digest(prepared.data.names),
        prepared.engine.precision,
        torch.__version__,
        mammozoo.__version__,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def describe(prepared: PreparedRun, attempt: FitSpec, val: torch.Tensor) -> ModelConfig:
    """The config of a fold's model; every choice in it comes from the validation part's logits."""
    recipe, split, data = attempt.recipe, attempt.split, prepared.data
    labels = data.labels[split.val]
    calibration = None
    if recipe.calibration == "temperature":
        calibration = Calibration(temperature=fit_temperature(val, labels), chosen_on="validation")
    p = probabilities(val, calibration.temperature if calibration else 1.0).numpy()
    thresholds = {}
    if len(data.classes) == 2:
        thresholds = {
            rule: Threshold(
                value=choose_threshold(rule, labels, p[:, 1]), chosen_on="nothing" if rule == "half" else "validation"
            )
            for rule in dict.fromkeys((*RULES, recipe.threshold))
        }
    cut = thresholds[recipe.threshold].value if thresholds else 0.5
    used = np.concatenate([split.train, split.val])
    info = data.dataset.info
    seen = [] if info.synthetic else [f"{h:016x}" for h in data.images.fingerprints.whole[used]]
    return ModelConfig(
        name=recipe.name,
        backbone=recipe.backbone,
        strategy=recipe.strategy,
        head=recipe.head,
        classes=data.classes,
        input=prepared.input,
        thresholds=thresholds,
        threshold=recipe.threshold if thresholds else "",
        calibration=calibration,
        abstention=choose_abstention(p, cut, recipe.abstain),
        guard=fit_profile(data.images.features[used]),
        training=Training(
            dataset=recipe.dataset,
            classes=data.merged,
            modality=info.modality,
            synthetic=info.synthetic or prepared.lineage.synthetic,
            images={part: len(split.part(part)) for part in splits.PARTS},
            left_out=len(data.samples) - sum(len(split.part(part)) for part in splits.PARTS),
            split_sha256=split.digest(data.names),
            weights=prepared.lineage.weights,
            stages=prepared.past,
            seed=recipe.seed,
            seen=tuple(dict.fromkeys([*prepared.lineage.seen, *seen])),
        ),
        stamps=prepared.stamps,
        plugins=plugins_of(recipe),
    )
