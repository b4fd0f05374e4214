"""What mammozoo does, as functions. The command line calls them and shows what they return.

They print nothing. What takes long reports to a `Progress`. Heavy libraries are imported inside them: `--help` needs no torch.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mammozoo.errors import UsageError, nearest

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.config.sections import Root
    from mammozoo.evaluation.compare import Result
    from mammozoo.evaluation.embed import Embeddings
    from mammozoo.evaluation.explanations import ExplainResult
    from mammozoo.evaluation.predict import Picture, Prediction, PredictResult
    from mammozoo.evaluation.result import EvaluationScores
    from mammozoo.models.backbone_spec import BackboneSpec
    from mammozoo.models.config import ModelConfig
    from mammozoo.models.device import Engine
    from mammozoo.models.model import Model
    from mammozoo.progress import Progress
    from mammozoo.training.run_directory import RunDirectory
    from mammozoo.training.search import Search
    from mammozoo.zoo.portable import Exported
    from mammozoo.zoo.recalibrate import Recalibration


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, its folder and config, and where it runs; `load` makes one.

    Attributes:
        model: the network, a torch module: (N, channels, h, w) float32 → (N, outputs) logits.
        config: the content of `config.json`: input, thresholds, calibration, training, scores.
        engine: device and precision.
    """

    folder: Path
    model: Model = field(repr=False)
    config: ModelConfig = field(repr=False)
    engine: Engine

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in output order; of two the second is the positive one."""
        return self.config.classes

    def predict(
        self, images: Picture | Iterable[Picture], *, batch: int = 32, abstain: bool = False, force: bool = False
    ) -> builtins.list[Prediction]:
        """A prediction for each image, in order. For research only: the output of a network is not a finding.

        `images` is one image or several, and kinds may be mixed:

        * text or a path: a file, a folder (lesion masks in it are left out) or a pattern, as `mammozoo predict` takes them.
          A file that is named twice has two predictions.
        * an array: (H, W) uint8, uint16, bool or float, (H, W, 1) the same, (H, W, 3) uint8 RGB. As in a file, values deeper
          than 8 bits are stretched from the image's own minimum to its maximum.
        * a Pillow image; EXIF orientation is applied.

        An image in memory gets the answer that its file would get. Its `Prediction.file` is its place, `images[3]`, and it
        has no `sha256`.

        An image that cannot be read, shows nothing or is of another modality than the model's has the reason in
        `Prediction.error` and does not stop the others; `force` answers for all that can be read. With `abstain` an image in
        the model's uncertain band gets no label.

        Raises:
            NotFoundError: a path leads to nothing.
            UsageError: an array of another shape or type, another object, or `abstain` of a model without a band.
        """
        from mammozoo.evaluation.predict import predict_images

        predictions, remark = predict_images(
            self.model, self.config, images, self.engine, batch, abstain=abstain, force=force
        )
        if remark:
            logging.getLogger(__name__).warning("%s", remark)
        return predictions


@dataclass(frozen=True)
class Listed:
    """A named thing that a plugin provides, and the plugin and distribution that it comes from."""

    name: str
    summary: str
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class ListedBackbone(Listed):
    """A backbone, and what its plugin says of it, as `BackboneSpec` has it."""

    parameters: int | None
    input_size: tuple[int, int] | None
    weights: str
    licence: str


def list(kind: str, match: str = "", *, max_params: int | None = None, weights: str = "") -> builtins.list[Listed]:
    """What the plugins provide of a kind, the built-in ones first; `match` keeps the names that contain it.

    Kinds: datasets, backbones, heads, strategies, losses, metrics, transforms, predictors, recipes, papers, zoos, commands.

    Args:
        max_params: only backbones that are known to have no more parameters.
        weights: only backbones whose ImageNet weights are `here`, on the `hub`, from `pip`, or `none`.

    Raises:
        UsageError: there is no such kind, or it has no parameters and weights.
    """
    from mammozoo.plugins import KINDS, registry

    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{nearest(kind, KINDS)} There are {', '.join(KINDS)}.")
    if kind != "backbones" and (max_params is not None or weights):
        raise UsageError(f"--max-params and --weights choose among backbones, and {kind} have neither.")
    found: builtins.list[Listed] = []
    for item in registry().items(kind).values():
        facts = item.name, item.summary, item.plugin.name, item.plugin.distribution, item.plugin.version
        if match not in item.name:
            continue
        if kind != "backbones":
            found.append(Listed(*facts))
            continue
        spec: BackboneSpec = item.value
        few = max_params is None or (spec.parameters is not None and spec.parameters <= max_params)
        if few and spec.weights.partition(" ")[0].startswith(weights):
            found.append(ListedBackbone(*facts, spec.parameters, spec.input_size, spec.weights, spec.licence))
    return found


def train(
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **more: Any,
) -> RunDirectory:
    """Train a model by a recipe and score it on its test part; the result is the run, with `path`, `recipe` and `facts`.

    Args:
        recipe: a recipe's name or YAML file, or a `Recipe`, such as that of a run; a folder or table of your own images, for
            the recipe `own`; None for `default`.
        settings: by dotted key, as `--set` takes them: `{"optimizer.lr": 1e-3, "split.folds": 5}`. A dictionary as a value
            replaces all that the recipe has there.
        out: the run's folder, new or empty; without it one below `runs/`, named by time and content.
        progress: gets epochs and notes; without it training is silent.
        more: settings whose key has no dot: `epochs=3`.

    Raises:
        UsageError: an unknown key, or a value of the wrong type; the message names the key.
        NotFoundError: no such recipe, or the recipe names something that no plugin provides.
        ConflictError: `out` is not empty.
        MammozooError: whatever else stops a training, with the reason.
    """
    from mammozoo.training import experiment

    return experiment.train(_resolved(recipe, settings, more), None if out is None else Path(out), progress)


def search(
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    out: str | Path,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    **more: Any,
) -> contextlib.AbstractContextManager[Search]:
    """A run whose points are proposed one after another; arguments as for `train`. An `out` that holds a search goes on.

        with mammozoo.search("own", root="BUSI", out="runs/search") as search:
            for rate in (1e-4, 1e-3):
                print(search.value({"optimizer.lr": rate, "backbone": "resnet18"}))  # the validation loss, or the `monitor`
        search.run.scores

    The first point is the recipe as it stands. At the end of the block the point with the best value on validation is scored on
    the test part. Once `stop` returns True, the batch under way is the last.

    Raises:
        UsageError: the recipe has a grid, repeats, stages or several splits.
        ConflictError: `out` holds something else than a search, or one that is complete.
        MammozooError: as `train`.
    """
    from mammozoo.training.search import search

    return search(_resolved(recipe, settings, more), Path(out), progress, stop=stop)


def _resolved(
    recipe: str | Path | Recipe | None, settings: Mapping[str, Any] | None, more: Mapping[str, Any]
) -> Recipe:
    from mammozoo.config import loading
    from mammozoo.config.names import reference_to

    if doubled := set(settings or {}) & set(more):
        raise UsageError(f"'{min(doubled)}' is set twice: in the dictionary of settings and by name. Give it once.")
    wanted = {
        key: f"{'run:' if key == 'weights' else ''}{value}" if isinstance(value, Path) else value
        for key, value in {**(settings or {}), **more}.items()
    }
    return loading.load(reference_to(recipe) if isinstance(recipe, Path) else recipe, wanted)


def load(
    model: str | Path | None = None,
    *,
    member: str | None = None,
    tta: str | None = None,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> Classifier:
    """The model that `model` names: a zoo's (`NAME`, `zoo:NAME`), `hub:ORG/NAME@COMMIT`, or a folder.

    A folder, of a run or a model, is a `Path`, text with a separator (`./NAME`), or `run:FOLDER`; a bare word is a zoo's.
    Of a run that trained several models (folds, repeats) it is all of them together: the mean of their probabilities.
    `member` names one of them: `best`, or a fold such as `fold-2`.

    It may also be another program's model that a predictor reads, such as an ONNX file, by its path.

    With `tta="flip"` each answer is the mean over an image and its mirror image. Thresholds and temperature are those that were
    chosen without it.

    Without a name it is the built-in model. Its files are checked against the zoo's hashes. Only a `hub:` model that was
    not pulled before is asked of a server.

    Raises:
        NotFoundError: no such model, or it is on the Hub and was never pulled.
        NotVerifiedError: its files are not those that the zoo promises, or are damaged.
        IncompatibleError: it needs another mammozoo, or a plugin that is not installed.
        UsageError: the device cannot be used here, or the model was trained without mirror images.
    """
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model
    from mammozoo.models.mirrored import augmented
    from mammozoo.zoo.registry import default_model, find_answering

    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"The precision is auto, bf16 or fp32, not '{precision}'.")
    folder = find_answering(default_model() if model is None else _named(model), member, others=True)
    network, config = load_model(folder)
    engine = choose_engine(device, precision)
    return Classifier(folder, engine.place(augmented(network, config, tta)), config, engine)


def _named(model: str | Path) -> str | Path:
    """What names a model; UsageError for an empty text, which a variable that is not set leaves."""
    if not str(model):
        raise UsageError("The name of the model is empty. Name one, or leave it out for the built-in model.")
    return model


def _root(root: str | Path | Mapping[str, str | Path] | None) -> Root | None:
    """Where data lie, as paths."""
    if isinstance(root, Mapping):
        return {name: Path(place) for name, place in root.items()}
    return None if root is None else Path(root)


def predict(
    images: Picture | Iterable[Picture],
    model: str | Path | None = None,
    *,
    member: str | None = None,
    batch: int = 32,
    abstain: bool = False,
    force: bool = False,
    aggregate: str | None = None,
    by: str = "patient",
    tta: str | None = None,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    journal: str | Path | None = None,
    progress: Progress | None = None,
) -> PredictResult:
    """Load a model and predict images; other arguments and errors are those of `load` and `Classifier.predict`.

    Args:
        images: also a table (CSV, TSV, .xlsx) with the column `path`, relative to it.
        aggregate: `mean`, `max` or `noisy-or`: also one prediction for each unit that a column of the table names.
        by: `patient`, `breast` (a column, or patient and `side`), or another column of the table.
        journal: a file that keeps each answer as it is made; a call like one that was killed goes on from its journal.
        progress: gets the number of images that are done.

    Raises:
        ConflictError: the journal is of another call.
        UsageError: `aggregate` without a table, or a table that names no such unit.
        NotFoundError: the table lists files that do not exist.
    """
    from mammozoo.evaluation.image_table import read_listing, table_of
    from mammozoo.evaluation.predict import PredictResult, predict_images
    from mammozoo.evaluation.predict_journal import journal as open_journal
    from mammozoo.evaluation.predict_journal import key_of

    listing = None if (table := table_of(images)) is None else read_listing(table)
    names = None
    if aggregate is not None:
        from mammozoo.evaluation.predict_units import predict_units
        from mammozoo.evaluation.units import check_how

        check_how(aggregate, ())
        if listing is None:
            raise UsageError(
                "--aggregate goes with a table of images that names their patients: mammozoo predict TABLE.csv."
            )
        names = listing.units(by)
    loaded = load(model, member=member, tta=tta, device=device, precision=precision)
    if aggregate is not None:
        check_how(aggregate, loaded.classes)
    asked = listing.files if listing else images
    with contextlib.ExitStack() as stack:
        kept = None
        if journal is not None:
            key = key_of(loaded.folder, loaded.config, loaded.engine, abstain=abstain, force=force, tta=tta)
            kept = stack.enter_context(open_journal(Path(journal), key))
        if progress and isinstance(asked, Sequence) and not isinstance(asked, str):
            progress.start("predicting", len(asked))
        found, remark = predict_images(
            loaded.model, loaded.config, asked, loaded.engine, batch,
            abstain=abstain, force=force, journal=kept, progress=progress,
        )  # fmt: skip
    units = None
    if aggregate is not None and names is not None:
        units = predict_units(found, names, by, aggregate, loaded.folder, loaded.config)
    return PredictResult(loaded.folder, loaded.config, found, remark, units)


def evaluate(
    model: str | Path,
    dataset: str | None = None,
    root: str | Path | Mapping[str, str | Path] | None = None,
    *,
    member: str | None = None,
    classes: str | Sequence[str] | None = None,
    threshold: str | None = None,
    aggregate: str | None = None,
    by: str = "patient",
    subgroup: str | Sequence[str] = (),
    unseen: bool = False,
    tta: str | None = None,
    truth: str | Path | None = None,
    columns: str | Sequence[str] = (),
    positive: str | None = None,
    negative: str | None = None,
    where: str | None = None,
    interval: Literal["bca", "percentile"] = "bca",
    prevalence: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationScores:
    """Score a model on a data set, with 95 % intervals; without a data set, a run on its own test images.

    Args:
        model, member: as for `load`; or a table of predictions that anybody made (CSV, TSV, .xlsx, Parquet with pyarrow).
        dataset: as in a recipe: `busi`, `phantom:n=60`, or several, `busi+bus-bra`, whose names are the column `dataset`; or a
            folder or table of images in its place.
        root: the folder (or table) that holds its images; of several data sets one for each, by name.
        classes: which labels of the data set are which class of the model, as in a recipe: `benign=cyst|fibroadenoma+malignant`.
            Without it they are matched by name, and images of other labels are left out.
        threshold: one of the model's, such as `youden`; of a table a number.
        aggregate: `mean`, `max` or `noisy-or`: patients (breasts, lesions: `by`), at a threshold chosen on those of validation.
        subgroup: a column such as `device`, several with commas between them, or a list: scores for each of their values.
        unseen: leave out the images of the data set that were used in training or model selection, and their groups.
        tta: as for `load`; with a data set.
        truth: a table with the truth of the predictions in a table, joined by id.
        columns: `ROLE=COLUMN` for columns of a table that are not recognised: `truth=biopsy`, `prob_malignant=out`.
        positive, negative: classes that are scored as one, separated by commas; without `negative` all others are.
        where: conditions on columns: `marks=no and age>=50`.
        prevalence: also PPV and NPV where this share is positive.
        interval: `bca`, or plain `percentile`s of the same draws.

    Raises:
        NotFoundError: no such model, data set, table or folder.
        UsageError: fewer than two of the model's classes, no such threshold, arguments that do not go together, or a table that
            cannot be scored, with its line.
    """
    from mammozoo.config.sections import listed
    from mammozoo.data.layouts import located
    from mammozoo.evaluation.evaluate import score_model
    from mammozoo.evaluation.prediction_table import is_table
    from mammozoo.evaluation.run_files import read_facts
    from mammozoo.evaluation.selection import Selection
    from mammozoo.zoo.registry import BEST, find_answering, find_model

    named = _named(model)
    if is_table(named):
        if member is not None:
            raise UsageError("A table of predictions has no --member.")
        folder = Path(named)
    elif dataset is not None or member is not None:
        folder = find_answering(named, member, others=dataset is not None)
        if dataset is None and member == BEST:
            folder /= read_facts(folder)["model"]["fold"]
    else:  # each of a run's own test images is scored by the model that has not seen it
        folder = find_model(named)
    name, place = (dataset, _root(root)) if dataset is None else located(str(dataset), _root(root))
    return score_model(
        folder,
        name,
        place,
        classes=listed(classes),
        threshold=threshold, how=aggregate, by=by, unseen=unseen, tta=tta, device=device, progress=progress,
        subgroup=[subgroup] if isinstance(subgroup, str) else subgroup,
        selection=Selection.of(truth, columns, positive, negative, where), interval=interval, prevalence=prevalence,
    )  # fmt: skip


def recalibrate(
    model: str | Path,
    data: str | Path,
    dataset: str | None = None,
    *,
    out: str | Path,
    threshold: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Recalibration:
    """Choose temperature and thresholds of a two-class model on local labelled images, and write it to the new folder `out`.

    Args:
        model: as for `load`.
        data: a folder or table of images; `dataset` says what lies there, without it that is found out.
        threshold: a rule such as `youden` or `sensitivity:0.9`; without it the model's own.

    Raises:
        NotFoundError: no such model or data.
        ConflictError: `out` is not empty.
        UsageError: more than two classes, too few images, or an unknown rule.
    """
    from mammozoo.data.layouts import dataset_at
    from mammozoo.files import given_path
    from mammozoo.zoo import recalibrate as zoo
    from mammozoo.zoo.registry import find_answering

    named = _named(model)
    place = given_path(data)
    name, root = (dataset, place) if dataset else dataset_at(place)
    return zoo.recalibrate(
        find_answering(named), named, name, root, given_path(out), rule=threshold, device=device, progress=progress
    )


def export(
    model: str | Path,
    out: str | Path,
    *,
    format: str = "onnx",
    member: str | None = None,
    check: str | Path | Sequence[str | Path] = (),
) -> Exported:
    """Write a model to the new file `out`, for programs without mammozoo; its own facts stand in the file's metadata.

    Args:
        model, member: as for `load`; of several models the file's answer is the mean of their probabilities.
        format: `onnx`, or `torchscript`.
        check: images or folders on which file and model are compared; without any the image that comes with mammozoo.

    Raises:
        NotFoundError: no such model or image.
        ConflictError: there is something at `out`.
        UsageError: an unknown format, or its libraries are not installed.
        IncompatibleError: the network cannot be written in this format.
        FailedError: a probability of the file differs from the model's by more than 1e-4; then nothing is written.
    """
    from mammozoo.evaluation.predict import find_images
    from mammozoo.files import given_path
    from mammozoo.models.factory import load_model
    from mammozoo.zoo.card import licence_of
    from mammozoo.zoo.portable import write_portable
    from mammozoo.zoo.registry import find_answering

    named = _named(model)
    folder = find_answering(named, member)
    given = [check] if isinstance(check, str | Path) else check
    images = find_images(map(str, given or [Path(__file__).with_name("example.png")]))
    network, config = load_model(folder)
    return write_portable(network, config, format, given_path(out), images, licence_of(named, folder))


def embed(
    model: str | Path,
    data: str | Path,
    dataset: str | None = None,
    *,
    out: str | Path,
    member: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Embeddings:
    """The mean of a network's feature maps on each image, written to the new file `out`, .npz or .csv.

    Args:
        model, member: as for `load`, but of a run with several models the one that stands for it.
        data: a folder or table of labelled images, of which `dataset` says what it is; or a data set that needs no folder.

    Raises:
        NotFoundError: no such model or data.
        ConflictError: there is something at `out`.
        UsageError: another suffix than .npz and .csv, or an ensemble.
    """
    from mammozoo.data.layouts import dataset_at
    from mammozoo.evaluation import embed as evaluation
    from mammozoo.files import given_path
    from mammozoo.zoo.registry import find_answering, find_model

    named, place = _named(model), given_path(data)
    folder = find_model(named) if member is None else find_answering(named, member)
    name, root = (dataset, place) if dataset else dataset_at(place) if place.exists() else (str(data), None)
    return evaluation.embed(folder, name, root, given_path(out), device=device, progress=progress)


def explain(
    model: str | Path,
    images: str | Path | Sequence[str | Path] = (),
    *,
    member: str | None = None,
    out: str | Path = "explanations",
    method: str = "grad-cam",
    class_name: str | None = None,
    mask: str | Path | None = None,
    dataset: str | None = None,
    root: str | Path | Mapping[str, str | Path] | None = None,
    part: str | None = None,
    limit: int | None = None,
    sanity: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> ExplainResult:
    """Write heat maps of files or of a data set into `out`, scored against lesion masks. Not for diagnosis.

    Args:
        model, member: as for `load`; of a run's own test images each is explained by the model that has not seen it.
        images: files, folders or patterns; or `dataset`, with `root`, `part` (`test` or `val` of the run's own) and `limit`.
        method: `grad-cam` or `occlusion`.
        class_name: the class to explain, `true` for that of the label; without it, the one decided for.
        mask: the lesion mask of a single image; `NAME_mask.png` beside an image is found by itself.
        sanity: compare with untrained networks (Adebayo et al. 2018).

    Raises:
        UsageError: unknown method or class, or arguments that do not go together.
        ConflictError: a file in `out` is there already, or is, or lies among, what is explained.
    """
    from mammozoo.data.layouts import located
    from mammozoo.evaluation import explanations
    from mammozoo.zoo.registry import find_answering, find_model

    answering = find_answering(_named(model), member)
    name, place = (dataset, _root(root)) if dataset is None else located(str(dataset), _root(root))
    return explanations.explain(
        find_model(_named(model)) if member is None else answering,
        answering,
        [str(path) for path in ([images] if isinstance(images, str | Path) else images)],
        Path(out),
        mask=None if mask is None else Path(mask), root=place,
        method=method, class_name=class_name, dataset=name, part=part, limit=limit, sanity=sanity, overwrite=overwrite,
        device=device, progress=progress,
    )  # fmt: skip


def compare(
    runs: Sequence[str | Path],
    metric: str = "auc",
    *,
    paired: bool = True,
    rank_sum: bool = False,
    truth: str | Path | None = None,
    columns: str | Sequence[str] = (),
    positive: str | None = None,
    negative: str | None = None,
    where: str | None = None,
    progress: Progress | None = None,
) -> builtins.list[Result]:
    """Every test of every pair of runs on their test images; `paired=False` for runs with different ones.

    Args:
        runs: folders of runs, or tables of predictions, as for `evaluate`; so are the arguments from `truth` on.
        metric: a score of `scores.json`, also of one class: `auc[malignant]`.
        rank_sum: also the test of Byra 2021, which is not valid.

    Raises:
        UsageError: fewer than two runs, one named twice, other test images or classes, or a table that cannot be scored.
        NotFoundError: no such run, table or metric.
    """
    from mammozoo.evaluation import compare as comparison
    from mammozoo.evaluation.selection import Selection

    selection = Selection.of(truth, columns, positive, negative, where)
    return comparison.compare(
        comparison.contenders(runs, selection, progress), metric, paired=paired, rank_sum=rank_sum
    )
