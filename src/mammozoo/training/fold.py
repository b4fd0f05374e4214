"""One fit: a model trained on a split, calibrated and described on its validation part, and applied to every part.

A fit writes into its own folder only. A complete fit is recognised by its `predictions.csv`, which is written last, and is
never repeated.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.config.recipe import Recipe
from mammozoo.data.joined import without_paths
from mammozoo.data.ood import fit_profile
from mammozoo.data.splits.make import PARTS
from mammozoo.documents import read_json
from mammozoo.errors import ConflictError
from mammozoo.evaluation.predictions import predictions_of, read_predictions
from mammozoo.evaluation.thresholds import RULES, choose_abstention, choose_threshold, fit_temperature
from mammozoo.files import read_table, table_text, write_json, write_table, write_text
from mammozoo.models.config import Calibration, ModelConfig, Threshold, Training, read_config
from mammozoo.models.factory import round_weights, save_model
from mammozoo.models.model import probabilities
from mammozoo.models.randomness import seeded
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.checkpoint import STATE, Checkpointer, DivergedError, PrunedError, Stopped
from mammozoo.training.feed import TrainingData
from mammozoo.training.fit_files import digests
from mammozoo.training.fit_spec import FitSpec, depends_on, state_key
from mammozoo.training.history import EpochRow, history_table, read_history
from mammozoo.training.holding import claim
from mammozoo.training.prepare import PreparedRun
from mammozoo.training.run_directory import plugins_of
from mammozoo.training.stages import read_stage
from mammozoo.training.trainer import Trainer

FAILED = "failed.json"  # in the folder of a fit that diverged or was pruned: the reason
_PRUNED = "pruned: "  # begins the reason


@dataclass(frozen=True)
class FitResult:
    """A complete fit: the config of its model, its history, and its rows of `predictions.csv`."""

    spec: FitSpec
    config: ModelConfig
    history: list[EpochRow]
    rows: Sequence[Mapping[str, Any]]

    @property
    def monitor(self) -> float:
        """The monitored value of the epoch whose weights remain."""
        return [row for row in self.history if row.best][-1].monitor


@dataclass(frozen=True)
class FailedFit:
    """A fit of one point of a grid that diverged or was pruned, and why. Its point cannot report on its test part."""

    spec: FitSpec
    reason: str
    monitor: float = float("nan")

    @property
    def pruned(self) -> bool:
        """Whether it was ended early, and did not diverge."""
        return self.reason.startswith(_PRUNED)


def try_fold(prepared: PreparedRun, spec: FitSpec, run: Path, callbacks: Callbacks) -> FitResult | FailedFit | None:
    """`train_fold`; where a point of a grid diverges or is pruned, that is recorded in its folder, and the other points go on.

    Raises:
        FailedError, Stopped: as `Trainer.fit`; of several processes at one fit, and without a grid, DivergedError too.
    """
    alone = bool(prepared.recipe.grid) and callbacks.dist.is_single

    def on_epoch(row: EpochRow) -> None:
        if (reason := callbacks.on_epoch(row)) and alone:
            raise PrunedError(f"{_PRUNED}{reason}")

    try:
        return train_fold(prepared, spec, run, replace(callbacks, on_epoch=on_epoch))
    except (DivergedError, PrunedError) as error:
        if not alone:
            raise
        content = {"schema": 1, "reason": str(error), "recipe": depends_on(prepared, spec)["recipe"]}
        write_json(run / spec.name / FAILED, content)
        (run / spec.name / STATE).unlink(missing_ok=True)
        return FailedFit(spec, str(error))


def train_fold(prepared: PreparedRun, spec: FitSpec, run: Path, callbacks: Callbacks) -> FitResult | None:
    """Train, write the fit's folder in `run`, return its result; None in all but the main process.

    A fit that was begun there continues from its saved state.

    Raises:
        FailedError, Stopped: as `Trainer.fit`.
    """
    torch.set_flush_denormal(True)  # vanishing activations would slow a processor down tenfold
    torch.backends.cudnn.deterministic = True  # a seed stands for the same bytes on a card too
    prepared = prepared.of(spec.recipe)
    recipe, split, data, dist = spec.recipe, spec.split, prepared.data, callbacks.dist
    folder = run / spec.name
    if spec.after:
        prepared = prepared.after(dist.broadcast(read_stage(run / spec.after) if dist.is_main else None))
    model, strategy = prepared.build(recipe)
    images = sum(phase.epochs for phase in recipe.all_phases()) * len(split.train)
    which = "" if spec.name == "holdout" else f" {spec.name}"
    callbacks.progress.start(f"training{which}", images // dist.size)
    checkpointer = Checkpointer(folder / STATE, state_key(prepared, spec), recipe.keep_state)
    with seeded(recipe.seed, prepared.engine.device):
        training_data = TrainingData(data.images.pixels, data.labels, data.names, split)
        trainer = Trainer(model, strategy, recipe, training_data, prepared.engine, callbacks, checkpointer)
        history = trainer.fit()
    if recipe.store == "fp16":
        round_weights(model, torch.float16)
        trainer.feed.features = None  # they are those of the weights as they were trained
    there = [part for part in PARTS if len(split.part(part))]  # a stage has no test part
    progress = callbacks.progress
    progress.start(f"predicting{which}", sum(len(split.part(part)) for part in there) // dist.size)
    logits = {part: trainer.predict(split.part(part), progress.advance) for part in there}
    callbacks.progress.clock.lap("predictions")
    if not dist.is_main:
        return None
    if callbacks.stop():  # the state of the last epoch is kept
        raise Stopped
    config = model_config(prepared, spec, logits["val"])
    write_table(folder / "history.csv", history_table(history))
    save_model(model, config, folder, torch.float16 if recipe.store == "fp16" else torch.float32)
    parts = [
        {"sample": data.names[i], "group": int(data.groups[i]), "part": part}
        for part in PARTS
        for i in split.part(part)
    ]
    write_table(folder / "split.csv", parts)
    rows: list[dict[str, Any]] = []
    for part, values in logits.items():
        p = probabilities(values, config.temperature).numpy()
        rows += predictions_of(data, spec.name, part, split.part(part), p, config.cut()).rows()
    table = table_text(rows)
    promised = digests(folder, **{"predictions.csv": table})
    write_json(folder / "key.json", {"schema": 1, **depends_on(prepared, spec), **promised})
    write_text(folder / "predictions.csv", table)
    checkpointer.drop()
    callbacks.progress.clock.lap("write")
    return FitResult(spec, config, history, rows)


@contextlib.contextmanager
def claimed(
    prepared: PreparedRun, specs: Sequence[FitSpec], run: Path, stop: Callable[[], bool]
) -> Iterator[Callable[[], bool]]:
    """Keep the fits that have not ended for this process; yields `stop`, true also once another one has taken them.

    Where another process trains a stage, its end is waited for.

    Raises:
        ConflictError: another process trains one of the others, or has taken it.
        Stopped: `stop` returned True.
    """
    with contextlib.ExitStack() as claims:
        lost: list[Callable[[], bool]] = []
        for spec in specs:
            while read_attempt(prepared, spec, run) is None:
                try:
                    lost.append(claims.enter_context(claim(run / spec.name)))
                    break
                except ConflictError:
                    if len(spec.split.test):  # not a stage
                        raise
                if stop():
                    raise Stopped
                time.sleep(0.5)
        try:
            yield lambda: stop() or any(gone() for gone in lost)
        except Stopped:
            if stop():
                raise
            raise ConflictError(f"Another process has begun a fit that this one was training in '{run}'.") from None


def read_attempt(prepared: PreparedRun, spec: FitSpec, run: Path) -> FitResult | FailedFit | None:
    """How a fit of the run ended; None if it has to be trained, also if it failed with another recipe."""
    if (result := read_result(run, spec)) is None and (run / spec.name / FAILED).is_file():
        failed = read_json(run / spec.name / FAILED)
        if failed.get("recipe") == depends_on(prepared, spec)["recipe"]:
            return FailedFit(spec, failed["reason"])
    return result


def read_result(run: Path, spec: FitSpec) -> FitResult | None:
    """The result of a complete fit of the run; None if it is not complete."""
    folder = run / spec.name
    if not (folder / "predictions.csv").is_file():
        return None
    read_predictions(folder, "val")  # refuses what is none
    return FitResult(spec, read_config(folder), read_history(folder), read_table(folder / "predictions.csv"))


def model_config(prepared: PreparedRun, spec: FitSpec, val: torch.Tensor) -> ModelConfig:
    """The config of a fit's model. Temperature, thresholds and abstention are chosen on the validation part's logits."""
    recipe, split, data = spec.recipe, spec.split, prepared.data
    labels = data.labels[split.val]
    calibration = None
    if recipe.calibration == "temperature":
        calibration = Calibration(temperature=fit_temperature(val, labels), chosen_on="validation")
    p = probabilities(val, calibration.temperature if calibration else 1.0).numpy()
    used = np.concatenate([split.train, split.val])
    info = data.dataset.info
    seen = [] if info.synthetic else data.images.fingerprints.written(used)
    images: dict[str, int] = {part: len(split.part(part)) for part in PARTS}
    return ModelConfig(
        name=recipe.name,
        backbone=recipe.backbone,
        strategy=recipe.strategy,
        head=recipe.head,
        classes=data.classes,
        input=prepared.input,
        **decision_rules(recipe, labels, p, "validation"),
        calibration=calibration,
        guard=fit_profile(data.images.features[used]),
        training=Training(
            dataset=without_paths(recipe.dataset),
            classes=data.merged,
            modality=info.modality,
            synthetic=info.synthetic or prepared.lineage.synthetic,
            images=images,
            left_out=len(data.samples) - sum(images.values()),
            split_sha256=split.digest(data.names),
            weights=prepared.lineage.weights,
            stages=prepared.past,
            seed=recipe.seed,
            augment=recipe.augment,
            seen=tuple(dict.fromkeys([*prepared.lineage.seen, *seen])),
        ),
        stamps=prepared.stamps,
        plugins=plugins_of(recipe),
    )


def decision_rules(
    recipe: Recipe, labels: npt.NDArray[np.intp], p: npt.NDArray[np.float64], chosen_on: str
) -> dict[str, Any]:
    """The thresholds of a config, the one in force and the band of `--abstain`, chosen on (N,) labels and (N, K) probabilities."""
    thresholds = {}
    if p.shape[1] == 2:
        thresholds = {
            rule: Threshold(
                value=choose_threshold(rule, labels, p[:, 1]), chosen_on="nothing" if rule == "half" else chosen_on
            )
            for rule in dict.fromkeys((*RULES, recipe.threshold))
        }
    cut = thresholds[recipe.threshold].value if thresholds else 0.5
    return {
        "thresholds": thresholds,
        "threshold": recipe.threshold if thresholds else "",
        "abstention": choose_abstention(p, cut, recipe.abstain),
    }
