"""What the commands `train`, `evaluate` and `list` do, as functions for a notebook; `mammozoo.classifier` has `predict`.

They print nothing and write nothing but a run's folder.
"""

from __future__ import annotations

import builtins
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammozoo.errors import UsageError, nearest
from mammozoo.plugins import KINDS, registry

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.evaluation.evaluate import EvaluationResult
    from mammozoo.evaluation.scores import Score
    from mammozoo.progress import Progress
    from mammozoo.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Listed:
    """A named thing that a plugin provides: what it is, and the plugin and distribution that it comes from."""

    name: str
    summary: str
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class EvaluationScores:
    """A model's scores on a data set.

    Attributes:
        scores: by name, such as `auc`; each with `value`, its 95 % interval `low` to `high`, and `n`.
        n: images.
        stamps: what the scores are not to be taken for: synthetic data, or images that the model has seen in training.
        evaluation: the predictions behind them.
    """

    scores: dict[str, Score]
    n: int
    stamps: tuple[str, ...]
    evaluation: EvaluationResult = field(repr=False)


def list(kind: str, match: str = "") -> builtins.list[Listed]:
    """What the plugins provide of a kind, ours first; `match` keeps the names that contain it.

    Kinds: datasets, backbones, heads, strategies, metrics, transforms, recipes, papers, zoos.

    Raises:
        UsageError: there is no such kind.
    """
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
        progress: is told of epochs and notes; without it training is silent.
        more: settings whose key has no dot: `epochs=3`.

    Raises:
        UsageError: an unknown key, or a value of the wrong type; the message names the key.
        NotFoundError: no such recipe, or the recipe names what nobody provides.
        ConflictError: `out` holds something.
        MammozooError: whatever else stops a training, with the reason.
    """
    from mammozoo.training import experiment

    if doubled := set(settings or {}) & set(more):
        raise UsageError(f"'{min(doubled)}' is set twice: in the dictionary of settings and by name. Give it once.")
    wanted = {key: str(v) if isinstance(v, Path) else v for key, v in {**(settings or {}), **more}.items()}
    return experiment.train(_with(recipe, wanted), None if out is None else Path(out), progress)


def evaluate(
    model: str | Path,
    dataset: str | None = None,
    root: str | Path | None = None,
    *,
    threshold: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationScores:
    """Score a model on a data set, with 95 % intervals; without a data set, a run on its own test images.

    `model` is named as for `load`, `dataset` as in a recipe (`busi`, `phantom:n=60`), `root` is the folder that holds its
    images, `threshold` one of the model's.

    Raises:
        NotFoundError: no such model, data set or folder.
        UsageError: the model has no such threshold, or `root` without `dataset`.
    """
    from mammozoo.evaluation import evaluate as assessment
    from mammozoo.evaluation.scores import score_all
    from mammozoo.zoo.registry import find_model

    if dataset is None and root is not None:
        raise UsageError("`root` belongs to `dataset`. Without both, a run is scored on its own test images.")
    folder = find_model(str(model))
    if dataset is None:
        result = assessment.own_predictions(folder, threshold)
    else:
        place = None if root is None else Path(root)
        result = assessment.evaluate(folder, dataset, place, threshold=threshold, device=device, progress=progress)
    outcome = result.predictions.outcome
    return EvaluationScores(score_all(outcome), len(outcome), result.stamps, result)


def _with(recipe: str | Path | Recipe | None, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with these settings, by the one reader of recipes there is."""
    from mammozoo.config.recipe import Recipe, load

    if not isinstance(recipe, Recipe):
        return load(None if recipe is None else str(recipe), settings)
    with tempfile.TemporaryDirectory(prefix="mammozoo-") as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(recipe.to_yaml(), encoding="utf-8")
        return load(str(file), settings)
