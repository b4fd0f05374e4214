"""From a plan to a run, and from a model to its scores on a data set: what `train` and `evaluate` do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mammozoo.data import splits
from mammozoo.data.collection import open_data, seen_before
from mammozoo.data.duplicates import ALIKE, NEAR, NEAR_VIEW
from mammozoo.data.loading import batches
from mammozoo.data.profile import fit_profile
from mammozoo.data.split_file import write_splits
from mammozoo.data.splits import Split
from mammozoo.errors import MammozooError
from mammozoo.evaluation.abstention import choose_abstention
from mammozoo.evaluation.calibration import fit_temperature
from mammozoo.evaluation.overfitting import overfitting
from mammozoo.evaluation.predictions import Predictions, predictions_of, read_predictions
from mammozoo.evaluation.scores import Score, as_json, score_all
from mammozoo.evaluation.thresholds import RULES, choose_threshold
from mammozoo.files import disk_error, sha256, write_bytes, write_json, write_text
from mammozoo.models.build import (
    load_model,
    round_weights,
    save_model,
)
from mammozoo.models.config import Calibration, ModelConfig, Threshold, Training, read_config
from mammozoo.models.engine import choose_engine
from mammozoo.models.model import probabilities
from mammozoo.plan import LEAKY, SYNTHETIC, Plan, plan
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.training.fit import EpochRow, Material, direction, fit, predict
from mammozoo.training.recipe import Recipe
from mammozoo.training.run import Run, plugins_of, refuse_occupied, write_table
from mammozoo.zoo.card import write_card

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """A model's predictions on a data set, decided at the threshold of that name (none with more than two classes)."""

    config: ModelConfig
    dataset: str
    threshold: str
    predictions: Predictions
    stamps: tuple[str, ...]


def train(recipe: Recipe, out: Path | None = None, progress: Progress | None = None) -> Run:
    """Carry out a recipe; the result is its run directory.

    A run that fails or is interrupted keeps its folder, and `run.json` says so.

    Raises:
        MammozooError: with the reason.
        KeyboardInterrupt: after the run was marked.
    """
    progress = progress or Progress()
    if out is not None:
        refuse_occupied(out)
    prepared = plan(recipe, progress)
    prepared.build()  # what the strategy or the head refuses, they refuse before there is a folder
    run = Run.create(recipe, out)
    try:
        _carry_out(prepared, run, progress)
    except KeyboardInterrupt:
        run.close("interrupted")
        raise
    except (MammozooError, OSError) as error:
        known = error if isinstance(error, MammozooError) else disk_error(error, run.path)
        run.close("failed", str(known))
        raise known from error
    except BaseException as error:
        run.close("failed", f"{type(error).__name__}: {error}")
        raise
    registry().notify("run_end", run=run)
    return run


def evaluate(
    folder: Path,
    dataset: str,
    root: Path | None,
    *,
    threshold: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch: int = 32,
    progress: Progress | None = None,
) -> Evaluation:
    """The predictions of the model in `folder` on all samples of a data set that have one of its classes.

    Images that the model has seen in training put the stamp on the result; they are counted in a note. `threshold` is the
    name of one of the model's; without it, the one in force.
    """
    progress = progress or Progress()
    model, config = load_model(folder)
    cut = config.cut(threshold)
    engine = choose_engine(device, precision)
    data = open_data(dataset, root, config.classes, config.input, "group", progress)
    everything = np.arange(len(data.samples))
    stamps = [SYNTHETIC] if data.dataset.info.synthetic or config.training.synthetic else []
    known = seen_before(data, everything, config.training.seen)
    if len(known):
        stamps.append(LEAKY)
        progress.note(f"{len(known)} of {len(everything)} images were seen in training, or nearly so: {LEAKY}.")
    progress.start("predicting", len(everything))
    engine.place(model)
    logits, _ = engine.logits(model, batches(data.images.pixels, data.labels, everything, batch), config.input)
    p = probabilities(logits, config.temperature).numpy()
    progress.advance(len(everything))
    predictions = predictions_of(data, "all", "test", everything, p, cut)
    return Evaluation(config, dataset, threshold or config.threshold, predictions, tuple(stamps))


def own_predictions(run: Path, threshold: str | None = None) -> Evaluation:
    """A run's predictions on its own test parts, each made by a model that had not seen the image.

    `threshold` is the name of one that each fold has chosen on its validation part; without it, the one in force.
    """
    config = read_config(run)
    predictions = read_predictions(run).of("test")
    if threshold is not None:
        cuts = {fold: read_config(run / fold).cut(threshold) for fold in np.unique(predictions.folds).tolist()}
        predictions = predictions.cut_at(np.array([cuts[fold] for fold in predictions.folds.tolist()]))
    return Evaluation(config, config.training.dataset, threshold or config.threshold, predictions, config.stamps)


@dataclass(frozen=True)
class _Fit:
    """One trained fold: its model's config, its best epoch, and its rows of `predictions.csv`."""

    split: Split
    config: ModelConfig
    best: EpochRow
    rows: list[dict[str, Any]]


def _carry_out(prepared: Plan, run: Run, progress: Progress) -> None:
    recipe, data = prepared.recipe, prepared.data
    torch.set_flush_denormal(True)  # vanishing activations would slow a processor down tenfold
    run.save(
        device=str(prepared.engine.device),
        precision=prepared.engine.precision,
        threads=torch.get_num_threads(),
        stamps=prepared.stamps,
        weights=prepared.lineage.weights,
        images=len(data.samples),
        groups=len(np.unique(data.groups)),
        near_duplicates={"bits": NEAR, "view_bits": NEAR_VIEW, "correlation": ALIKE},
        splits=prepared.split_counts(),
    )
    write_splits(run.path / "splits.json", prepared.splits, data.names)
    fits = [_fit_one(prepared, split, run, progress) for split in prepared.splits]
    # Of the inner folds of one outer fold the one that was best on its own validation part reports, and of all folds it
    # stands for the run.
    sign = direction(recipe.monitor)
    reporting: dict[str, _Fit] = {}
    for fit_ in sorted(fits, key=lambda f: f.best.monitor * sign):
        reporting[fit_.split.outer] = fit_
    chosen = max(reporting.values(), key=lambda f: f.best.monitor * sign)
    told = {f.split.name for f in reporting.values()}
    rows = [row for f in fits for row in f.rows if row["part"] != "test" or f.split.name in told]
    write_table(run.path / "predictions.csv", rows)
    write_bytes(run.path / "model.safetensors", (run.path / chosen.split.name / "model.safetensors").read_bytes())
    write_json(run.path / "config.json", chosen.config.to_json())
    scores = as_json(score_run(run.path, seed=recipe.seed))
    config = chosen.config.model_copy(update={"scores": scores})
    write_json(run.path / "config.json", config.to_json())
    write_json(run.path / "scores.json", scores)
    run.save(scores=scores, model={"fold": chosen.split.name, "sha256": sha256(run.path / "model.safetensors")})
    write_text(run.path / "README.md", write_card(config, run.facts))
    run.close("done")


def score_run(run: Path, *, seed: int = 0) -> dict[str, Score]:
    """Every score of a run's test parts, and β of its training against its validation parts; from `predictions.csv` alone."""
    predictions = read_predictions(run)
    scores = score_all(predictions.of("test").outcome, seed=seed)
    train = predictions.of("train")
    if len(train):
        scores["beta"] = overfitting(train.outcome, predictions.of("val").outcome, seed=seed)
    return scores


def _fit_one(prepared: Plan, split: Split, run: Run, progress: Progress) -> _Fit:
    recipe, data, engine = prepared.recipe, prepared.data, prepared.engine
    model, chosen = prepared.build()
    material = Material(data.images.pixels, data.labels, data.names, split)
    epochs = sum(phase.epochs for phase in recipe.all_phases())
    progress.start(f"training {split.name}" if len(prepared.splits) > 1 else "training", epochs * len(split.train))

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
        progress.epoch(row)
        registry().notify("epoch_end", run=run, row=row)

    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        rows = fit(model, chosen, recipe, material, engine, progress.advance, on_epoch)
    run.write_history(split.name, rows)
    stored = torch.float16 if recipe.store == "fp16" else torch.float32
    round_weights(model, stored)
    logits = {part: predict(model, material, split.part(part), recipe.batch, engine) for part in splits.PARTS}
    config = _describe(prepared, split, logits["val"])
    save_model(model, config, run.path / split.name, stored)
    write_table(
        run.path / split.name / "split.csv",
        [
            {"sample": data.names[i], "group": int(data.groups[i]), "part": part}
            for part in splits.PARTS
            for i in split.part(part)
        ],
    )
    table = [
        row
        for part in splits.PARTS
        for row in predictions_of(
            data,
            split.name,
            part,
            split.part(part),
            probabilities(logits[part], config.temperature).numpy(),
            config.cut(),
        ).rows()
    ]
    return _Fit(split, config, [row for row in rows if row.best][-1], table)


def _describe(prepared: Plan, split: Split, val: torch.Tensor) -> ModelConfig:
    """The config of a fold's model; every choice in it comes from the validation part's logits."""
    recipe, data = prepared.recipe, prepared.data
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
    seen = [] if info.synthetic else [f"{h:016x}" for h in data.images.prints.whole[used]]
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
            modality=info.modality,
            synthetic=info.synthetic or prepared.lineage.synthetic,
            images={part: len(split.part(part)) for part in splits.PARTS},
            split_sha256=split.digest(data.names),
            weights=prepared.lineage.weights,
            seed=recipe.seed,
            seen=tuple(dict.fromkeys([*prepared.lineage.seen, *seen])),
        ),
        stamps=prepared.stamps,
        plugins=plugins_of(recipe),
    )
