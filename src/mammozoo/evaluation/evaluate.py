"""From a model to its predictions on a data set, to its scores, and to scores of parts of the data set."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from mammozoo.config.sections import Root
from mammozoo.data.joined import SET, Joined, is_joined, parse_datasets
from mammozoo.data.loaded import Data, open_data
from mammozoo.data.loader import batches
from mammozoo.data.splits.leakage import seen_before
from mammozoo.errors import IncompatibleError, MammozooError, UsageError, nearest
from mammozoo.evaluation.intervals import Kind
from mammozoo.evaluation.outcome import given_classes
from mammozoo.evaluation.prediction_table import is_table
from mammozoo.evaluation.predictions import Predictions, predictions_of, read_predictions
from mammozoo.evaluation.result import EvaluationResult, EvaluationScores
from mammozoo.evaluation.run_files import read_facts
from mammozoo.evaluation.seeds import score_folds
from mammozoo.evaluation.selection import ALL, Selection, read_table
from mammozoo.evaluation.selective import MORE, study
from mammozoo.evaluation.subgroups import by_subgroup
from mammozoo.evaluation.table_roles import number
from mammozoo.evaluation.units import at_own_point, check_how
from mammozoo.evaluation.use import check_prevalence, use_of
from mammozoo.files import sha256
from mammozoo.models.config import CONFIG, LEAKY, SYNTHETIC, ModelConfig, read_config
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.mirrored import MIRROR_NOTE, augmented
from mammozoo.models.model import check_probabilities, probabilities
from mammozoo.models.predictor import weights_of
from mammozoo.progress import Progress

NOBODY = Predictions.from_rows([], ("", ""))  #: no predictions at all


def score_model(
    source: Path,
    dataset: str | None = None,
    root: Root | None = None,
    *,
    classes: Sequence[str] | None = None,
    threshold: str | None = None,
    how: str | None = None,
    by: str = "patient",
    subgroup: Sequence[str] = (),
    unseen: bool = False,
    tta: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    selection: Selection = ALL,
    interval: Kind = "bca",
    prevalence: float | None = None,
) -> EvaluationScores:
    """What `mammozoo.api.evaluate` describes, of the model in a folder or the predictions in a table: the `source`."""
    if how is not None:
        check_how(how, ())
    if by not in ("patient", "breast", "lesion"):
        raise UsageError(f"--by is patient, breast or lesion, not '{by}'.")
    if interval not in get_args(Kind):
        raise UsageError(f"--interval is {' or '.join(get_args(Kind))}, not '{interval}'.")
    if prevalence is not None:
        check_prevalence(prevalence)
    if how and subgroup:
        raise UsageError("--subgroup goes with single images; leave --aggregate out.")
    table = is_table(source)
    if table and (dataset is not None or root is not None or unseen):
        raise UsageError("A table of predictions is scored as it is: --dataset, --root and --unseen are for a model.")
    if dataset is None and root is not None:
        raise UsageError("--root belongs to --dataset. Without both, a run is scored on its own test images.")
    if unseen and dataset is None:
        raise UsageError("--unseen goes with --dataset: a run's own test images were not used in its training.")
    if tta is not None and dataset is None:
        raise UsageError("--tta goes with --dataset: a run's own test images are not predicted again.")
    if classes and dataset is None:
        raise UsageError("--classes goes with --dataset: a run's own test images have its classes.")
    if table:
        result = evaluate_table(source, selection, threshold)
    else:
        selection.refuse_for_model()
        if dataset is None:
            result = evaluate_test_part(source, threshold)
        else:
            result = evaluate(
                source,
                dataset,
                root,
                classes=classes,
                threshold=threshold,
                unseen=unseen,
                tta=tta,
                device=device,
                progress=progress,
            )
    val = result.validation
    if how and val is None and not table:
        val = own_validation(source)
    if not table:
        chosen, notes = selection.apply(result.predictions)
        result = dataclasses.replace(result, predictions=chosen, notes=(*result.notes, *notes))
    rows, units = result.predictions, None
    if val is not None and len(val):
        val = selection.joined(val)[0].among(rows.outcome.classes)
    if how:
        calibrated = result.config is not None and result.config.calibration is not None
        rule = result.threshold or ("half" if rows.outcome.binary and not table else "")
        units = at_own_point(rows, val or NOBODY, by, how, rule=rule, calibrated=calibrated)
        rows = units.predictions
    sets = [SET] if result.dataset is not None and is_joined(parse_datasets(result.dataset)) else []
    columns = dict.fromkeys([*sets, *_columns(rows, subgroup)])
    parts = [part for column in columns for part in by_subgroup(rows, column, interval)]
    scores = score_folds(rows, kind=interval, more=MORE)
    use = use_of(rows, None if how else val, scores, prevalence)
    return EvaluationScores(scores, len(rows.by_repeat()[0]), result.stamps, result, parts, units, study(rows), use)


def _columns(rows: Predictions, subgroup: Sequence[str]) -> list[str]:
    """The columns that are named; one text may name several, separated by commas, unless a column has this very name."""
    return [
        name.strip() for text in subgroup for name in ([text] if text in rows.meta else text.split(",")) if name.strip()
    ]


def evaluate_table(path: Path, selection: Selection, threshold: str | None = None) -> EvaluationResult:
    """What is selected of a table; `threshold` is `half` or a number between 0 and 1 that was chosen elsewhere.

    Raises:
        UsageError: another threshold, which needs validation images, or one of more than two classes; or as
            `read_prediction_table`.
    """
    cut = None if threshold is None else 0.5 if threshold == "half" else number(threshold)
    if threshold is not None and (cut is None or not 0 <= cut <= 1):
        raise UsageError(
            f"--threshold of a table is a number between 0 and 1 that was chosen elsewhere, not '{threshold}': a rule needs "
            "validation images, and a table has none."
        )
    rows, table = read_table(path, selection, cut)
    name = "half" if rows.outcome.binary and table.predictions.outcome.binary and not rows.decided_only else ""
    if cut is not None:
        if not rows.outcome.binary:
            raise UsageError("--threshold is for two classes; --positive makes two of more.")
        rows, name = rows.cut_at(np.full(len(rows), cut)), threshold or ""
        table = dataclasses.replace(table, notes=tuple(n for n in table.notes if not n.startswith("Decisions are")))
    elif name and {"decision", "cut"} & table.taken.keys():
        name = "the table's"
    return EvaluationResult(None, None, name, rows, (), table=table)


def evaluate(
    folder: Path,
    dataset: str,
    root: Root | None,
    *,
    classes: Sequence[str] | None = None,
    threshold: str | None = None,
    unseen: bool = False,
    tta: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationResult:
    """The predictions of the model in `folder` on all samples of a data set that have one of its classes.

    Of the model's classes that the data set has, probabilities are those given that the class is one of them. `classes` maps its
    labels to classes of the model, as a recipe does; without it they are matched by name.
    `threshold` names one of the model's; without it, the one in force. Images used in training or model selection put the
    stamp on the result; with `unseen` they are left out, and all that are of one group with them. `tta` is that of `augmented`.

    Raises:
        UsageError: the data set has fewer than two of the classes, `classes` names others, `unseen` leaves no image, or
            the model was trained without what `tta` asks for.
    """
    progress = progress or Progress()
    model, config = load_model(folder)
    model = augmented(model, config, tta)
    cut = config.cut(threshold)
    engine = choose_engine(device, "auto")
    asked = _of_model(classes, config) if classes else config.asked
    data = open_data(dataset, root, asked, config.input, "group", progress, partly=not classes)
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
    absent = {}
    if len(data.classes) < len(config.classes):
        most = np.bincount(p.argmax(axis=1), minlength=p.shape[1])
        absent = {name: int(most[k]) for k, name in enumerate(config.classes) if name not in data.classes}
        p = given_classes(p, [config.classes.index(name) for name in data.classes])
        counts = ", ".join(f"{name} of {count}" for name, count in absent.items())
        progress.note(
            f"Scores are among {', '.join(data.classes)}, the classes of the model that the data set has: probabilities are those "
            f"given that it is one of them. The most probable of all is {counts} of {len(p)} images."
        )
    progress.advance(len(everything))
    predictions = predictions_of(data, "all", "test", everything, p, cut)
    own = config.members if config.temperature == 1 else ()  # else it was recalibrated as a whole
    name, used = threshold or config.threshold, tuple(member.temperature for member in own)
    return EvaluationResult(
        config,
        dataset,
        name,
        predictions,
        tuple(stamps),
        None,
        used,
        notes=() if tta is None else (MIRROR_NOTE,),
        sha256=sha256(weights_of(folder)),
        seen=len(known),
        absent=absent,
        left_out=data.left_out,
    )


def _of_model(written: Sequence[str], config: ModelConfig) -> tuple[str, ...]:
    """A mapping of labels to classes, in the order of the model's classes; UsageError if it has another class."""
    named = {text.partition("=")[0].strip(): text for text in written}
    for name in named:
        if name not in config.classes:
            known = f"It has {', '.join(config.classes)}."
            raise UsageError(f"--classes: the model has no class '{name}'.{nearest(name, config.classes)} {known}")
    return tuple(sorted(written, key=lambda text: config.classes.index(text.partition("=")[0].strip())))


def evaluate_test_part(run: Path, threshold: str | None = None) -> EvaluationResult:
    """A run's predictions on its own test parts, each by a model that was not trained on the image.

    `threshold` names one that each fold has chosen on its validation part; without it, the one in force.
    """
    config = read_config(run)
    try:
        rows = read_predictions(run)
    except MammozooError:
        if config.scores_of and not (run / "run.json").is_file():
            raise UsageError(f"'{run}' has no test images of its own: score it with --dataset, or the run.") from None
        raise
    predictions = rows.of("test")
    names = np.unique(predictions.folds).tolist()
    if threshold is not None:
        there = {fold: (run / fold / CONFIG).is_file() for fold in names}  # `run` may be one fold of a run
        cuts = {fold: (read_config(run / fold) if there[fold] else config).cut(threshold) for fold in names}
        predictions = predictions.cut_at(np.array([cuts[fold] for fold in predictions.folds.tolist()]))
    name, dataset = threshold or config.threshold, config.training.dataset
    kept = [read_config(run / fold) for fold in names if (run / fold).is_dir()]  # a copied run may lack its fits
    temperatures = tuple(fit.temperature for fit in kept or [config])
    return EvaluationResult(config, dataset, name, predictions, config.stamps, rows.of("val"), temperatures)


def own_validation(folder: Path) -> Predictions:
    """The validation rows of the model in `folder`, with `all` as the fold, as for any other data; none if it has no run."""
    if not (folder / "predictions.csv").is_file():
        return NOBODY
    val = read_predictions(folder, "val").of("val")
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
    sets = (
        Counter(own for i in known if (own := data.samples[i].meta.get(SET)))
        if isinstance(data.dataset, Joined)
        else {}
    )
    of = f" ({', '.join(f'{count} of {own}' for own, count in sets.items())})" if sets else ""
    progress.note(f"{len(known)} of {len(data.samples)} images{of} were seen in training, or nearly so: {LEAKY}.")
    return [LEAKY]
