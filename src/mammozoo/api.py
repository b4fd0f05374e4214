"""What mammozoo does, as functions. The command line calls them and shows what they return.

They print nothing. What takes long reports to a `Progress`. Heavy libraries are imported inside them: `--help` needs no torch.
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
    from mammozoo.evaluation.evaluate import EvaluationScores
    from mammozoo.evaluation.explanations import ExplainResult
    from mammozoo.evaluation.predict import Picture, Prediction, PredictResult
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
    from mammozoo.config import loading
    from mammozoo.config.names import reference_to
    from mammozoo.training import experiment

    if doubled := set(settings or {}) & set(more):
        raise UsageError(f"'{min(doubled)}' is set twice: in the dictionary of settings and by name. Give it once.")
    wanted = {
        key: f"{'run:' if key == 'weights' else ''}{value}" if isinstance(value, Path) else value
        for key, value in {**(settings or {}), **more}.items()
    }
    resolved = loading.load(reference_to(recipe) if isinstance(recipe, Path) else recipe, wanted)
    return experiment.train(resolved, None if out is None else Path(out), progress)


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> Classifier:
    """The model that `model` names: a zoo's (`NAME`, `zoo:NAME`), `hub:ORG/NAME@COMMIT`, or a folder.

    A folder, of a run or a model, is a `Path`, text with a separator (`./NAME`), or `run:FOLDER`; a bare word is a zoo's.

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


def _named(model: str | Path) -> str | Path:
    """What names a model; UsageError for an empty text, which a variable that is not set leaves."""
    if not str(model):
        raise UsageError("The name of the model is empty. Name one, or leave it out for the built-in model.")
    return model


def predict(
    images: Picture | Iterable[Picture],
    model: str | Path | None = None,
    *,
    batch: int = 32,
    abstain: bool = False,
    force: bool = False,
    aggregate: str | None = None,
    by: str = "patient",
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> PredictResult:
    """Load a model and predict images; other arguments and errors are those of `load` and `Classifier.predict`.

    Args:
        images: also a table (CSV, TSV, .xlsx) with the column `path`, relative to it.
        aggregate: `mean`, `max` or `noisy-or`: also one prediction for each unit that a column of the table names.
        by: `patient`, `breast` (a column, or patient and `side`), or another column of the table.

    Raises:
        UsageError: `aggregate` without a table, or a table that names no such unit.
        NotFoundError: the table lists files that do not exist.
    """
    from mammozoo.evaluation.image_table import read_listing, table_of
    from mammozoo.evaluation.predict import PredictResult, predict_images

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
    loaded = load(model, device=device, precision=precision)
    if aggregate is not None:
        check_how(aggregate, loaded.classes)
    asked = listing.files if listing else images
    found, remark = predict_images(
        loaded.model, loaded.config, asked, loaded.engine, batch, abstain=abstain, force=force
    )
    units = None
    if aggregate is not None and names is not None:
        units = predict_units(found, names, by, aggregate, loaded.folder, loaded.config)
    return PredictResult(loaded.folder, loaded.config, found, remark, units)


def evaluate(
    model: str | Path,
    dataset: str | None = None,
    root: str | Path | None = None,
    *,
    threshold: str | None = None,
    aggregate: str | None = None,
    by: str = "patient",
    subgroup: str | None = None,
    unseen: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationScores:
    """Score a model on a data set, with 95 % intervals; without a data set, a run on its own test images.

    Args:
        model: as for `load`.
        dataset: as in a recipe: `busi`, `phantom:n=60`.
        root: the folder (or table) that holds its images.
        threshold: one of the model's, such as `youden`.
        aggregate: `mean`, `max` or `noisy-or`: patients (breasts, lesions: `by`), at a threshold chosen on those of validation.
        subgroup: a column of the data set, such as `device`: scores for each of its values.
        unseen: leave out the images of the data set that were used in training or model selection, and their groups.

    Raises:
        NotFoundError: no such model, data set or folder.
        UsageError: the model has no such threshold, `root` without `dataset`, or `aggregate` with `subgroup`.
    """
    from mammozoo.evaluation.evaluate import score_model
    from mammozoo.zoo.registry import find_model

    return score_model(
        find_model(_named(model)),
        dataset,
        None if root is None else Path(root),
        threshold=threshold, how=aggregate, by=by, subgroup=subgroup, unseen=unseen, device=device, progress=progress,
    )  # fmt: skip


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
    from mammozoo.evaluation import explanations
    from mammozoo.zoo.registry import find_model

    return explanations.explain(
        find_model(_named(model)),
        [str(path) for path in ([images] if isinstance(images, str | Path) else images)],
        Path(out),
        mask=None if mask is None else Path(mask), root=None if root is None else Path(root),
        method=method, class_name=class_name, dataset=dataset, part=part, limit=limit, sanity=sanity, overwrite=overwrite,
        device=device, progress=progress,
    )  # fmt: skip


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

    return comparison.compare(comparison.contenders(runs), metric, paired=paired, rank_sum=rank_sum)
