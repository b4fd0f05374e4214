"""From a plan to a run, and from a model to its scores on a data set: what `train` and `evaluate` do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.data import splits
from mammozoo.data.collection import Data, open_data, seen_before
from mammozoo.data.loading import batches
from mammozoo.data.splits import Split
from mammozoo.errors import MammozooError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.scores import Score, as_json, score_all
from mammozoo.evaluation.thresholds import RULES, choose_threshold
from mammozoo.files import disk_error, sha256, write_bytes, write_json, write_text
from mammozoo.models.build import (
    load_model,
    round_weights,
    save_model,
)
from mammozoo.models.config import ModelConfig, Threshold, Training
from mammozoo.models.engine import choose_engine
from mammozoo.models.model import probabilities
from mammozoo.plan import LEAKY, SYNTHETIC, Plan, plan
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.training.fit import EpochRow, Material, fit, predict
from mammozoo.training.recipe import Recipe
from mammozoo.training.run import Run, plugins_of, refuse_occupied, write_table
from mammozoo.zoo.card import write_card

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on a data set."""

    config: ModelConfig
    dataset: str
    n: int
    scores: dict[str, Score]
    rows: list[dict[str, Any]]
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
    device: str = "auto",
    precision: str = "auto",
    batch: int = 32,
    progress: Progress | None = None,
) -> Evaluation:
    """Score the model in `folder` on all samples of a data set that have one of its classes.

    Images that the model has seen in training put the stamp on the result; they are counted in a note.
    """
    progress = progress or Progress()
    model, config = load_model(folder)
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
    p = probabilities(logits).double().numpy()
    progress.advance(len(everything))
    outcome = Outcome(config.classes, data.labels, p, decide(p, config.cut()), data.groups)
    rows = prediction_rows(data, "all", "test", everything, p, config.cut())
    return Evaluation(config, dataset, len(everything), score_all(outcome), rows, tuple(stamps))


def prediction_rows(
    data: Data, fold: str, part: str, indices: npt.NDArray[np.intp], p: npt.NDArray[np.float64], cut: float
) -> list[dict[str, Any]]:
    """Lines of `predictions.csv`: from them every score can be computed again."""
    decisions = decide(p, cut)
    return [
        {
            "sample": data.samples[i].image,
            "group": int(data.groups[i]),
            "patient": data.samples[i].patient or "",
            "fold": fold,
            "part": part,
            "label": data.classes[data.labels[i]],
            "decision": data.classes[decisions[row]],
            "threshold": cut if len(data.classes) == 2 else "",
            **{f"p_{name}": float(p[row, k]) for k, name in enumerate(data.classes)},
        }
        for row, i in enumerate(indices)
    ]


@dataclass(frozen=True)
class _Fit:
    """One trained fold."""

    split: Split
    config: ModelConfig
    best: EpochRow
    test: npt.NDArray[np.float64]
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
        splits=prepared.split_counts(),
    )
    fits = [_fit_one(prepared, split, run, progress) for split in prepared.splits]
    test = np.concatenate([f.split.test for f in fits])
    p = np.concatenate([f.test for f in fits])
    decisions = np.concatenate([decide(f.test, f.config.cut()) for f in fits])
    outcome = Outcome(data.classes, data.labels[test], p, decisions, data.groups[test])
    scores = as_json(score_all(outcome, seed=recipe.seed))
    # Of several folds the one that was best on its own validation part stands for the run.
    chosen = max(fits, key=lambda f: f.best.monitor * (-1 if recipe.monitor == "loss" else 1))
    write_bytes(run.path / "model.safetensors", (run.path / chosen.split.name / "model.safetensors").read_bytes())
    config = chosen.config.model_copy(update={"scores": scores})
    write_json(run.path / "config.json", config.to_json())
    write_table(run.path / "predictions.csv", [row for f in fits for row in f.rows])
    write_json(run.path / "scores.json", scores)
    run.save(scores=scores, model={"fold": chosen.split.name, "sha256": sha256(run.path / "model.safetensors")})
    write_text(run.path / "README.md", write_card(config, run.facts))
    run.close("done")


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
    p_val = predict(model, material, split.val, recipe.batch, engine)
    config = _describe(prepared, split, p_val)
    save_model(model, config, run.path / split.name, stored)
    write_table(
        run.path / split.name / "split.csv",
        [
            {"sample": data.names[i], "group": int(data.groups[i]), "part": part}
            for part in splits.PARTS
            for i in split.part(part)
        ],
    )
    p_test = predict(model, material, split.test, recipe.batch, engine)
    table = [
        row
        for part, indices, p in (("val", split.val, p_val), ("test", split.test, p_test))
        for row in prediction_rows(data, split.name, part, indices, p, config.cut())
    ]
    best = [row for row in rows if row.best][-1]
    return _Fit(split, config, best, p_test, table)


def _describe(prepared: Plan, split: Split, p_val: npt.NDArray[np.float64]) -> ModelConfig:
    """The config of a fold's model; its thresholds come from the validation part's probabilities."""
    recipe, data = prepared.recipe, prepared.data
    thresholds = {}
    if len(data.classes) == 2:
        thresholds = {
            rule: Threshold(
                value=choose_threshold(rule, data.labels[split.val], p_val[:, 1]),
                chosen_on="nothing" if rule == "half" else "validation",
            )
            for rule in RULES
        }
    used = np.concatenate([split.train, split.val])
    seen = [] if data.dataset.info.synthetic else [f"{h:016x}" for h in data.images.prints.whole[used]]
    return ModelConfig(
        name=recipe.name,
        backbone=recipe.backbone,
        strategy=recipe.strategy,
        head=recipe.head,
        classes=data.classes,
        input=prepared.input,
        thresholds=thresholds,
        threshold=recipe.threshold if thresholds else "",
        training=Training(
            dataset=recipe.dataset,
            synthetic=data.dataset.info.synthetic or prepared.lineage.synthetic,
            images={part: len(split.part(part)) for part in splits.PARTS},
            split_sha256=split.digest(data.names),
            weights=prepared.lineage.weights,
            seed=recipe.seed,
            seen=tuple(dict.fromkeys([*prepared.lineage.seen, *seen])),
        ),
        stamps=prepared.stamps,
        plugins=plugins_of(recipe),
    )
