"""What mammozoo does, as functions. The command line calls them and shows what they return.

They print nothing. What takes long reports to a `Progress`. Heavy libraries are imported inside the functions, so that
`import mammozoo` and `mammozoo --help` need no torch.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mammozoo.errors import UsageError, nearest

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.evaluation.compare import Result
    from mammozoo.evaluation.evaluate import EvaluationResult, Subgroup
    from mammozoo.evaluation.explanations import ExplainResult
    from mammozoo.evaluation.predict import Picture, Prediction
    from mammozoo.evaluation.scores import Score
    from mammozoo.models.config import ModelConfig
    from mammozoo.models.device import Engine
    from mammozoo.models.model import Model
    from mammozoo.progress import Progress
    from mammozoo.training.run_directory import RunDirectory


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
        self, images: Picture | Iterable[Picture], *, batch: int = 32, abstain: bool = False
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

        An image that cannot be read has its reason in `Prediction.error` and does not stop the others. With `abstain` an
        image in the model's uncertain band gets no label.

        Raises:
            NotFoundError: a path leads to nothing.
            UsageError: an array of another shape or type, another object, or `abstain` of a model without a band.
        """
        from mammozoo.evaluation.predict import predict_images

        predictions, remark = predict_images(self.model, self.config, images, self.engine, batch, abstain=abstain)
        if remark:
            logging.getLogger(__name__).warning("%s", remark)
        return predictions


@dataclass(frozen=True)
class PredictResult:
    """The predictions of the model in `folder`, and a remark on all of them together, if there is one."""

    folder: Path
    config: ModelConfig = field(repr=False)
    predictions: builtins.list[Prediction]
    remark: str | None


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
    """

    scores: dict[str, Score]
    n: int
    stamps: tuple[str, ...]
    evaluation: EvaluationResult = field(repr=False)
    subgroups: builtins.list[Subgroup] = field(default_factory=builtins.list, repr=False)


@dataclass(frozen=True)
class Listed:
    """A named thing that a plugin provides, and the plugin and distribution that it comes from."""

    name: str
    summary: str
    plugin: str
    distribution: str
    version: str


def list(kind: str, match: str = "") -> builtins.list[Listed]:
    """What the plugins provide of a kind, the built-in ones first; `match` keeps the names that contain it.

    Kinds: datasets, backbones, heads, strategies, metrics, transforms, recipes, papers, zoos.

    Raises:
        UsageError: there is no such kind.
    """
    from mammozoo.plugins import KINDS, registry

    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{nearest(kind, KINDS)} There are {', '.join(KINDS)}.")
    return [
        Listed(item.name, item.summary, item.plugin.name, item.plugin.distribution, item.plugin.version)
        for item in registry().items(kind).values()
        if match in item.name
    ]


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
        recipe: a recipe's name or YAML file, or a `Recipe`, such as that of a run; None for `default`.
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
    import tempfile

    from mammozoo.config.recipe import Recipe, load
    from mammozoo.training import experiment

    if doubled := set(settings or {}) & set(more):
        raise UsageError(f"'{min(doubled)}' is set twice: in the dictionary of settings and by name. Give it once.")
    wanted = {key: str(v) if isinstance(v, Path) else v for key, v in {**(settings or {}), **more}.items()}
    with tempfile.TemporaryDirectory(prefix="mammozoo-") as folder:
        if isinstance(recipe, Recipe):  # recipes and settings have one reader
            file = Path(folder) / "recipe.yaml"
            file.write_text(recipe.to_yaml(), encoding="utf-8")
            recipe = file
        resolved = load(None if recipe is None else str(recipe), wanted)
    return experiment.train(resolved, None if out is None else Path(out), progress)


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> Classifier:
    """The model that `model` names: a run's or model's folder, a zoo name, `zoo:NAME`, `hub:ORG/NAME@COMMIT`.

    Without a name it is the built-in model. Its files are checked against the zoo's hashes. Only a `hub:` model that was
    not pulled before is asked of a server.

    Raises:
        NotFoundError: no such model, or it is on the Hub and was never pulled.
        NotVerifiedError: its files are not those that the zoo promises, or are damaged.
        IncompatibleError: it needs another mammozoo, or a plugin that is not installed.
        UsageError: the device cannot be used here.
    """
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model
    from mammozoo.zoo.registry import default_model, find_model

    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"The precision is auto, bf16 or fp32, not '{precision}'.")
    folder = find_model(default_model() if model is None else _named(model))
    network, config = load_model(folder)
    engine = choose_engine(device, precision)
    return Classifier(folder, engine.place(network), config, engine)


def _named(model: str | Path) -> str:
    """What names a model; UsageError for an empty text, which a variable that is not set leaves."""
    if not str(model):
        raise UsageError("The name of the model is empty. Name one, or leave it out for the built-in model.")
    return str(model)


def predict(
    images: Picture | Iterable[Picture],
    model: str | Path | None = None,
    *,
    batch: int = 32,
    abstain: bool = False,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> PredictResult:
    """Load a model and predict images; arguments and errors are those of `load` and `Classifier.predict`."""
    from mammozoo.evaluation.predict import predict_images

    loaded = load(model, device=device, precision=precision)
    found = predict_images(loaded.model, loaded.config, images, loaded.engine, batch, abstain=abstain)
    return PredictResult(loaded.folder, loaded.config, *found)


def evaluate(
    model: str | Path,
    dataset: str | None = None,
    root: str | Path | None = None,
    *,
    threshold: str | None = None,
    aggregate: str | None = None,
    by: str = "patient",
    subgroup: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationScores:
    """Score a model on a data set, with 95 % intervals; without a data set, a run on its own test images.

    Args:
        model: as for `load`.
        dataset: as in a recipe: `busi`, `phantom:n=60`.
        root: the folder (or table) that holds its images.
        threshold: one of the model's, such as `youden`.
        aggregate: `mean`, `max` or `noisy-or`: one probability for each patient (or lesion, by `by`).
        subgroup: a column of the data set, such as `device`: scores for each of its values.

    Raises:
        NotFoundError: no such model, data set or folder.
        UsageError: the model has no such threshold, `root` without `dataset`, or `aggregate` with `subgroup`.
    """
    from mammozoo.evaluation import evaluate as evaluation
    from mammozoo.evaluation.scores import score_all
    from mammozoo.evaluation.seeds import score_folds
    from mammozoo.zoo.registry import find_model

    if aggregate is not None and aggregate not in evaluation.HOW:
        raise UsageError(f"--aggregate is {', '.join(evaluation.HOW)}, not '{aggregate}'.")
    if by not in ("patient", "lesion"):
        raise UsageError(f"--by is patient or lesion, not '{by}'.")
    if dataset is None and root is not None:
        raise UsageError("--root belongs to --dataset. Without both, a run is scored on its own test images.")
    if aggregate and subgroup:
        raise UsageError("--subgroup goes with single images; leave --aggregate out.")
    folder = find_model(_named(model))
    if dataset is None:
        result = evaluation.evaluate_test_part(folder, threshold)
    else:
        place = None if root is None else Path(root)
        result = evaluation.evaluate(folder, dataset, place, threshold=threshold, device=device, progress=progress)
    found = result.predictions.by_repeat()[0]  # parts and patients are those of the first repeat
    outcome = found.outcome
    parts = evaluation.by_subgroup(outcome, found.units(subgroup)) if subgroup else []
    if aggregate:
        outcome = evaluation.aggregate(outcome, found.units(by), found.cuts, aggregate)
    scores = score_all(outcome) if aggregate else score_folds(result.predictions)
    return EvaluationScores(scores, len(outcome), result.stamps, result, parts)


def explain(
    model: str | Path,
    images: str | Path | Sequence[str | Path] = (),
    *,
    out: str | Path = "explanations",
    method: str = "grad-cam",
    class_name: str | None = None,
    mask: str | Path | None = None,
    dataset: str | None = None,
    root: str | Path | None = None,
    part: str | None = None,
    limit: int | None = None,
    sanity: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> ExplainResult:
    """Write heat maps of files or of a data set into `out`, scored against lesion masks. Not for diagnosis.

    Args:
        images: files, folders or patterns; or `dataset`, with `root`, `part` (`test` or `val` of the run's own) and `limit`.
        method: `grad-cam` or `occlusion`.
        class_name: the class to explain; without it, the one decided for.
        mask: the lesion mask of a single image; `NAME_mask.png` beside an image is found by itself.
        sanity: compare with untrained networks (Adebayo et al. 2018).

    Raises:
        UsageError: unknown method or class, or arguments that do not go together.
        ConflictError: a file in `out` is there already, or is, or lies among, what is explained.
    """
    import itertools

    from mammozoo.evaluation.cases import of_dataset, of_files
    from mammozoo.evaluation.explain import METHODS, untrained
    from mammozoo.evaluation.explanations import RANDOMISATIONS, ExplainResult, explain_cases, refuse_occupied_files
    from mammozoo.evaluation.predict import find_images, folders_of
    from mammozoo.models.config import read_config
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model
    from mammozoo.progress import Progress
    from mammozoo.zoo.registry import find_model

    folder, out, progress = find_model(_named(model)), Path(out), progress or Progress()
    wanted = [str(path) for path in ([images] if isinstance(images, str | Path) else images)]
    if bool(wanted) == (dataset is not None):
        raise UsageError("What is to be explained? Give images, or --dataset, and not both.")
    if dataset is None and (root or part or limit):
        raise UsageError("--root, --part and --limit go with --dataset.")
    if method not in METHODS:
        raise UsageError(f"Unknown --method '{method}'.{nearest(method, METHODS)} There are: {', '.join(METHODS)}.")
    config = read_config(folder)
    if class_name is not None and class_name not in config.classes:
        close = nearest(class_name, config.classes)
        raise UsageError(f"The model has no class '{class_name}'.{close} It has {', '.join(config.classes)}.")
    target = None if class_name is None else config.classes.index(class_name)
    files, stamps = find_images(wanted), builtins.list[str]()
    if mask is not None and len(files) != 1:
        raise UsageError(f"--mask goes with one image, and there are {len(files)}.")
    if dataset is None:
        cases = of_files(files, None if mask is None else Path(mask))
    else:
        place = None if root is None else Path(root)
        cases, stamps = of_dataset(folder, config, dataset, place, part=part, limit=limit, progress=progress)
    inputs = [*files, *folders_of(wanted), *(Path(place) for place in (mask, root) if place is not None)]
    refuse_occupied_files(out, cases, inputs, overwrite)
    engine, explanations = choose_engine(device, "fp32"), []
    progress.start("explaining", len(cases))
    for fold, members in itertools.groupby(cases, key=lambda case: case.fold):
        network, its = load_model(folder / fold if fold else folder)
        controls = [untrained(its, seed) for seed in range(RANDOMISATIONS)] if sanity else []
        for one in explain_cases(
            network, its, [*members], engine, out, method=method, target=target, controls=controls
        ):
            explanations.append(one)
            progress.advance()
    return ExplainResult(folder, config, explanations, (*config.stamps, *stamps))


def compare(
    runs: Sequence[str | Path], metric: str = "auc", *, paired: bool = True, rank_sum: bool = False
) -> builtins.list[Result]:
    """Every test of every pair of runs on their test images; `paired=False` for runs with different ones.

    Args:
        metric: a score of `scores.json`, also of one class: `auc[malignant]`.
        rank_sum: also the test of Byra 2021, which is not valid.

    Raises:
        UsageError: fewer than two runs, one named twice, other test images or classes.
        NotFoundError: no such run or metric.
    """
    from mammozoo.evaluation import compare as comparison
    from mammozoo.evaluation.predictions import read_predictions

    folders = [Path(run) for run in runs]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("One run is named twice.")
    contenders = [comparison.Contender(f.as_posix(), read_predictions(f)) for f in folders]
    return comparison.compare(contenders, metric, paired=paired, rank_sum=rank_sum)
