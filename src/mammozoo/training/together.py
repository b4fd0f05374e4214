"""All models of a run as one, in RUN/ensemble: the mean of their probabilities.

Threshold and band are chosen on the images of all validation parts, each predicted by the mean of those models that have it
there. Temperatures are the models' own. Where all models share one test part (repeats), the ensemble is scored on it. Else no image
of the run is new to all of them, and those of validation are other models' test images: then the scores are those of the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.data.ood import fit_profile
from mammozoo.data.splits.make import PARTS, Part
from mammozoo.evaluation.outcome import decide
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import OVERFITTING, as_json
from mammozoo.evaluation.seeds import score_folds
from mammozoo.files import write_json, write_table, write_text
from mammozoo.models.config import MOST_MEMBERS, Calibration, Member, ModelConfig
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.training.fold import FitResult, decision_rules
from mammozoo.training.prepare import PreparedRun
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.account import read_account
from mammozoo.zoo.card import write_card
from mammozoo.zoo.registry import ENSEMBLE

log = logging.getLogger(__name__)


def unseen(fits: Sequence[FitResult], part: str) -> Predictions:
    """The images that any of the fits has in this part, each with the mean probabilities of those that have it there."""
    rows = [row for fit in fits for row in fit.rows if row["part"] == part]
    every = Predictions.from_rows(rows, fits[0].config.classes)
    _, first, place = np.unique(every.samples, return_index=True, return_inverse=True)
    p = np.zeros((len(first), every.outcome.probabilities.shape[1]))
    np.add.at(p, place, every.outcome.probabilities)
    one = every.take(first)
    mean = dataclasses.replace(one.outcome, probabilities=p / np.bincount(place)[:, None])
    everywhere = np.full(len(first), "all")
    return dataclasses.replace(one, folds=everywhere, repeats=np.full(len(first), ""), outcome=mean)


def used_images(prepared: PreparedRun, *parts: Part) -> npt.NDArray[np.intp]:
    """The images that any split of the run has in one of these parts, or in any."""
    return np.unique(np.concatenate([split.part(part) for split in prepared.splits for part in parts or PARTS]))


def joint_config(
    prepared: PreparedRun, fits: Sequence[FitResult], used: npt.NDArray[np.intp], run: RunDirectory
) -> tuple[ModelConfig, Predictions]:
    """The config of what stands for all these fits, with the scores of the run, and their validation rows, as `unseen` has them.

    `used` are the images that it was made with.
    """
    first, data = fits[0].config, prepared.data
    starts = {one.start: one for fit in fits for one in [prepared.of(fit.spec.recipe)]}.values()
    val = unseen(fits, "val")
    rules = decision_rules(prepared.recipe, val.outcome.labels, val.outcome.probabilities, "pooled validation")
    held_out = len(np.setdiff1d(used_images(prepared, "test"), used))
    seen = [] if data.dataset.info.synthetic else data.images.fingerprints.written(used)
    digests = "\n".join(dict.fromkeys(fit.config.training.split_sha256 for fit in fits))
    training = first.training.model_copy(
        update={
            "images": {"train": len(used), "val": 0, "test": held_out},
            "left_out": len(data.samples) - len(used) - held_out,
            "split_sha256": hashlib.sha256(digests.encode()).hexdigest(),
            "seen": tuple(dict.fromkeys([*(h for one in starts for h in one.lineage.seen), *seen])),
        }
    )
    about = {
        **rules,
        "name": prepared.recipe.name,
        "guard": fit_profile(data.images.features[used]),
        "training": training,
        "stamps": tuple(run.facts["stamps"]),
        "plugins": {name: version for fit in fits for name, version in fit.config.plugins.items()},
        "scores": {name: score for name, score in run.facts["scores"].items() if name not in OVERFITTING},
    }
    config = first.model_copy(update=about)
    return config, _decided(val, config)


def _decided(rows: Predictions, config: ModelConfig) -> Predictions:
    """The rows with the decisions at the config's threshold."""
    cuts = np.full(len(rows), config.cut() if len(config.classes) == 2 else np.nan)
    decisions = decide(rows.outcome.probabilities, cuts)
    return dataclasses.replace(rows, cuts=cuts, outcome=dataclasses.replace(rows.outcome, decisions=decisions))


def write_ensemble(prepared: PreparedRun, run: RunDirectory, fits: Sequence[FitResult]) -> None:
    """Write RUN/ensemble from the fits that report; nothing of one, over `MOST_MEMBERS`, or several networks or sizes."""
    if len(fits) > MOST_MEMBERS:
        log.info(
            "%d models are too many for an ensemble; those of the first repeat are taken, if they are not.", len(fits)
        )
        fits = [fit for fit in fits if fit.spec.repeat == 0]
    if len({(fit.config.backbone, fit.config.input.size) for fit in fits}) > 1:
        log.info("No ensemble: the folds chose different networks or sizes.")
        return
    if not 1 < len(fits) <= MOST_MEMBERS:
        return
    config, val = joint_config(prepared, fits, used_images(prepared, "train", "val"), run)
    members = tuple(
        Member(
            name=fit.spec.name, strategy=fit.config.strategy, head=fit.config.head, temperature=fit.config.temperature
        )
        for fit in fits
    )
    calibrated = Calibration(temperature=1.0, chosen_on="validation") if config.calibration else None
    rows = val.rows()
    config = config.model_copy(
        update={
            "members": members,
            "strategy": members[0].strategy,
            "head": members[0].head,
            "calibration": calibrated,
            "scores_of": "The scores of the run: no test image was seen by what predicts it, and none is predicted by all "
            f"{len(fits)} models.",
        }
    )
    if len({fit.spec.split.outer for fit in fits}) == 1:
        test = _decided(unseen(fits, "test"), config)
        rows += test.rows()
        own = as_json(score_folds(test, seed=prepared.recipe.seed))
        config = config.model_copy(update={"scores": own, "scores_of": ""})
    folder = run.path / ENSEMBLE
    write_table(folder / "predictions.csv", rows)
    tensors = {
        f"members.{number}.{name}": tensor
        for number, fit in enumerate(fits)
        for name, tensor in read_tensors(run.path / fit.spec.name / "model.safetensors").items()
    }
    write_tensors(folder / "model.safetensors", tensors)
    names = ", ".join(member.name for member in members)
    how = f"the probabilities are the means of those of {len(members)} models ({names}), each trained and chosen on its own parts"
    write_about(folder, config, run, how)
    run.save(ensemble=len(members))


def write_about(folder: Path, config: ModelConfig, run: RunDirectory, how: str) -> None:
    """Write the config and the card of what stands for all fits of a run; `how` it came about, after a semicolon."""
    write_json(folder / "config.json", config.to_json())
    write_text(folder / "README.md", write_card(config, read_account(run.path, run.facts), how))
