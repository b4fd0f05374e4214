"""From a model to its predictions on a data set, to its scores, and to scores of parts of the data set.

Subgroups (a device, a density, a hospital) show where a model is worse than on average. Scores of a few independent
groups are imprecise and may identify a person. Below `FEWEST` groups they are not computed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mammozoo.data.loaded import Data, open_data
from mammozoo.data.loader import batches
from mammozoo.data.splits.leakage import seen_before
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.evaluation.predictions import Predictions, predictions_of, read_predictions
from mammozoo.evaluation.run_files import read_facts
from mammozoo.evaluation.scores import Score
from mammozoo.evaluation.seeds import score_folds
from mammozoo.evaluation.units import Units, at_own_point, check_how
from mammozoo.models.config import LEAKY, SYNTHETIC, ModelConfig, read_config
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.model import check_probabilities, probabilities
from mammozoo.progress import Progress

FEWEST = 10


@dataclass(frozen=True)
class EvaluationResult:
    """A model's predictions on a data set, decided at the threshold of that name (none with more than two classes)."""

    config: ModelConfig
    dataset: str
    threshold: str
    predictions: Predictions
    stamps: tuple[str, ...]
    validation: Predictions | None = None  #: of a run on its own test parts
    temperatures: tuple[float, ...] = ()  #: by which logits were divided: one, or one of each fold's model
    seen: int | None = (
        None  #: images used in training or model selection, or nearly so; None of a run on its own test parts
    )


@dataclass(frozen=True)
class Subgroup:
    """One part: how many samples and groups, and its scores; None if it is too small."""

    value: str
    n: int
    groups: int
    scores: dict[str, Score] | None


@dataclass(frozen=True)
class EvaluationScores:
    """A model's scores on a data set.

    Attributes:
        scores: by name, such as `auc`; each with `value`, its 95 % interval `low` to `high`, and `n`. On the test parts of a
            run they are the means over its folds and repeats, with `pooled` and `sd`.
        n: images, or patients or lesions where they were aggregated.
        stamps: warning labels: synthetic data, or images used in training or model selection.
        evaluation: the predictions behind the scores.
        subgroups: scores for each value of a column, if asked for.
        units: the predictions of patients or lesions, if they were aggregated.
    """

    scores: dict[str, Score]
    n: int
    stamps: tuple[str, ...]
    evaluation: EvaluationResult = field(repr=False)
    subgroups: list[Subgroup] = field(default_factory=list, repr=False)
    units: Units | None = field(default=None, repr=False)


def score_model(
    folder: Path,
    dataset: str | None,
    root: Path | None,
    *,
    threshold: str | None,
    how: str | None,
    by: str,
    subgroup: str | None,
    unseen: bool,
    device: str,
    progress: Progress | None,
) -> EvaluationScores:
    """What `mammozoo.api.evaluate` describes, of the model in `folder`."""
    if how is not None:
        check_how(how, ())
    if by not in ("patient", "breast", "lesion"):
        raise UsageError(f"--by is patient, breast or lesion, not '{by}'.")
    if dataset is None and root is not None:
        raise UsageError("--root belongs to --dataset. Without both, a run is scored on its own test images.")
    if unseen and dataset is None:
        raise UsageError("--unseen goes with --dataset: a run's own test images were not used in its training.")
    if how and subgroup:
        raise UsageError("--subgroup goes with single images; leave --aggregate out.")
    if dataset is None:
        result = evaluate_test_part(folder, threshold)
    else:
        result = evaluate(folder, dataset, root, threshold=threshold, unseen=unseen, device=device, progress=progress)
    units = None
    if how:
        val = own_validation(folder) if result.validation is None else result.validation
        calibrated = result.config.calibration is not None
        units = at_own_point(result.predictions, val, by, how, rule=result.threshold, calibrated=calibrated)
    scored = units.predictions if units else result.predictions
    parts = by_subgroup(result.predictions, subgroup) if subgroup else []
    return EvaluationScores(score_folds(scored), len(scored.by_repeat()[0]), result.stamps, result, parts, units)


def evaluate(
    folder: Path,
    dataset: str,
    root: Path | None,
    *,
    threshold: str | None = None,
    unseen: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationResult:
    """The predictions of the model in `folder` on all samples of a data set that have one of its classes.

    `threshold` names one of the model's; without it, the one in force. Images used in training or model selection put the
    stamp on the result; with `unseen` they are left out, and all that are of one group with them.

    Raises:
        UsageError: `unseen` leaves no image.
    """
    progress = progress or Progress()
    model, config = load_model(folder)
    cut = config.cut(threshold)
    engine = choose_engine(device, "auto")
    data = open_data(dataset, root, config.asked, config.input, "group", progress)
    everything = np.arange(len(data.samples))
    known = seen_before(data, everything, config.training.seen)
    stamps = [SYNTHETIC] if data.dataset.info.synthetic or config.training.synthetic else []
    stamps += dict.fromkeys(s for stage in config.training.stages for s in stage.stamps if s not in stamps)
    if unseen:
        everything = np.flatnonzero(~np.isin(data.groups, data.groups[known]))
        left_out = f"{len(known)} of {len(data.samples)} images were seen in training, or nearly so"
        related = f"{len(data.samples) - len(everything) - len(known)} more are of one group with them"
        if not len(everything):
            raise UsageError(f"--unseen leaves no image: {left_out}, and {related}.")
        progress.note(f"{left_out}, and {related}: {len(everything)} are scored.")
    else:
        stamps += leak_stamps(data, known, progress)
    progress.start("predicting", len(everything))
    engine.place(model)
    loader = batches(data.images.pixels, data.labels, everything, 32, device=engine.device)
    logits, _ = engine.logits(model, loader, config.input)
    p = probabilities(logits, config.temperature).numpy()
    check_probabilities(p, config.name)
    progress.advance(len(everything))
    predictions = predictions_of(data, "all", "test", everything, p, cut)
    name, used = threshold or config.threshold, (config.temperature,)
    return EvaluationResult(config, dataset, name, predictions, tuple(stamps), temperatures=used, seen=len(known))


def evaluate_test_part(run: Path, threshold: str | None = None) -> EvaluationResult:
    """A run's predictions on its own test parts, each by a model that was not trained on the image.

    `threshold` names one that each fold has chosen on its validation part; without it, the one in force.
    """
    config = read_config(run)
    rows = read_predictions(run)
    predictions = rows.of("test")
    names = np.unique(predictions.folds).tolist()
    if threshold is not None:
        cuts = {fold: read_config(run / fold).cut(threshold) for fold in names}
        predictions = predictions.cut_at(np.array([cuts[fold] for fold in predictions.folds.tolist()]))
    name, dataset = threshold or config.threshold, config.training.dataset
    kept = [read_config(run / fold) for fold in names if (run / fold).is_dir()]  # a copied run may lack its fits
    temperatures = tuple(fit.temperature for fit in kept or [config])
    return EvaluationResult(config, dataset, name, predictions, config.stamps, rows.of("val"), temperatures)


def own_validation(folder: Path) -> Predictions:
    """The validation rows of the model in `folder`, with `all` as the fold, as for any other data; none if it has no run."""
    if not (folder / "predictions.csv").is_file():
        return Predictions.from_rows([], ("", ""))
    val = read_predictions(folder).of("val")
    if len(np.unique(val.folds)) > 1:
        if (model := read_facts(folder).get("model")) is None:
            raise IncompatibleError(f"'{folder / 'run.json'}' does not say which fold the model is of.")
        fold = model["fold"]
        val = val.take(np.flatnonzero(val.folds == fold))
    return dataclasses.replace(val, folds=np.full(len(val), "all"))


def leak_stamps(data: Data, known: npt.NDArray[np.intp], progress: Progress) -> list[str]:
    """The stamp if these images of the data were used in training or model selection; a note counts them."""
    if not len(known):
        return []
    progress.note(f"{len(known)} of {len(data.samples)} images were seen in training, or nearly so: {LEAKY}.")
    return [LEAKY]


def by_subgroup(predictions: Predictions, column: str) -> list[Subgroup]:
    """One entry for each value of a column, in alphabetical order; empty text becomes the part `unknown`.

    A part may be small in every fold, so the folds are pooled. Scores of several repeats are means, as those of a run.

    Raises:
        UsageError: there is no such column.
    """
    values, subgroups = predictions.units(column), []
    whole = dataclasses.replace(predictions, folds=np.full(len(predictions), ""))
    for value in sorted(set(values.tolist())):
        part = whole.take(np.flatnonzero(values == value))
        first = part.by_repeat()[0].outcome
        groups = len(np.unique(first.groups))
        subgroups.append(
            Subgroup(value or "unknown", len(first), groups, score_folds(part) if groups >= FEWEST else None)
        )
    return subgroups
