"""The contract with plugins: every hook there is. API 1.

A plugin is a module that implements some of these functions, marked `@mammozoo.hookimpl`, and is found
through the entry-point group `mammozoo`:

    [project.entry-points.mammozoo]
    yourthing = "mammozoo_yourthing"

Each hook returns named things; nothing is registered by import, and nothing is overridden. If two plugins provide one name,
neither is used for it, and the name is an error that names both plugins; a built-in name cannot be replaced. The built-in
plugins use the same hooks.

A hook or an argument that will be removed is marked for at least one release before; `mammozoo plugins list` names the plugins
that use it:

    @hookspec(warn_on_impl=DeprecationWarning("register_ways goes in API 3; use register_strategies"))
    @hookspec(warn_on_impl_args={"run": DeprecationWarning("run goes in API 3; use path")})
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from mammozoo.data.dataset import Dataset
    from mammozoo.data.transforms import TransformSpec
    from mammozoo.evaluation.metric import Metric
    from mammozoo.evaluation.outcome import Outcome
    from mammozoo.models.backbone_spec import BackboneSpec
    from mammozoo.models.head import HeadSpec
    from mammozoo.models.predictor import PredictorSpec
    from mammozoo.models.strategy import Strategy
    from mammozoo.models.weight_map import WeightMap
    from mammozoo.plugins.command_spec import CommandSpec
    from mammozoo.training.history import EpochRow
    from mammozoo.training.loss import LossSpec
    from mammozoo.training.run_directory import RunDirectory
    from mammozoo.zoo.section import Section

hookspec = pluggy.HookspecMarker("mammozoo")
hookimpl = pluggy.HookimplMarker("mammozoo")

#: Hook → the API with which it came; all others came with API 1.
SINCE: dict[str, int] = {}


@hookspec
def register_datasets() -> Iterable[type[Dataset]]:  # type: ignore[empty-body]
    """Data sets, by the name in their `info`.

    @hookimpl
    def register_datasets():
        return [OurHospital]
    """


@hookspec
def register_backbones() -> Iterable[BackboneSpec]:  # type: ignore[empty-body]
    """Networks that turn an image into feature maps.

    @hookimpl
    def register_backbones():
        return [BackboneSpec("tinynet", "three convolutions", build=TinyNet)]
    """


@hookspec
def register_heads() -> Iterable[HeadSpec]:  # type: ignore[empty-body]
    """Classifiers on top of feature maps; each owns its pooling.

    @hookimpl
    def register_heads():
        return [HeadSpec("max", "global max pooling, one dense layer", build=MaxHead)]
    """


@hookspec
def register_strategies() -> Iterable[type[Strategy]]:  # type: ignore[empty-body]
    """Transfer strategies: changes to a pretrained network, and which of its parameters learn.

    @hookimpl
    def register_strategies():
        return [BiasOnly]
    """


@hookspec
def register_predictors() -> Iterable[PredictorSpec]:  # type: ignore[empty-body]
    """Models of other programs, which `predict` and `evaluate` take in place of ours.

    @hookimpl
    def register_predictors():
        return [PredictorSpec("ours", "networks of our toolkit", build=load_ours, fits=is_ours)]
    """


@hookspec
def register_losses() -> Iterable[LossSpec]:  # type: ignore[empty-body]
    """Losses, by name in `methods.loss` of a recipe.

    @hookimpl
    def register_losses():
        return [LossSpec("brier", "squared error of the probabilities", build=brier)]
    """


@hookspec
def register_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Scores, computed on every test part with a 95 % interval.

    @hookimpl
    def register_metrics():
        return [Metric("gmean", "geometric mean of sensitivity and specificity", gmean)]
    """


@hookspec
def register_transforms() -> Iterable[TransformSpec]:  # type: ignore[empty-body]
    """Image transforms: preprocessing steps and training-time augmentations, named in recipes.

    @hookimpl
    def register_transforms():
        return [TransformSpec("clahe", "contrast-limited histogram equalisation", build=clahe)]
    """


@hookspec
def register_recipes() -> Iterable[Path]:  # type: ignore[empty-body]
    """Recipe files; a recipe is named by its file's stem.

    @hookimpl
    def register_recipes():
        return sorted(Path(__file__).parent.glob("recipes/*.yaml"))
    """


@hookspec
def register_papers() -> Iterable[Path]:  # type: ignore[empty-body]
    """Papers as YAML files: the reported results, and the recipe of each row; a paper is named by its file's stem.

    `mammozoo.reproduction.paper` describes the format.

    @hookimpl
    def register_papers():
        return sorted(Path(__file__).parent.glob("papers/*.yaml"))
    """


@hookspec
def register_zoos() -> Iterable[Path]:  # type: ignore[empty-body]
    """`zoo.yaml` files that list further models.

    @hookimpl
    def register_zoos():
        return [Path(__file__).parent / "zoo.yaml"]
    """


@hookspec
def register_weight_maps() -> Iterable[WeightMap]:  # type: ignore[empty-body]
    """Names of weights that other libraries have published, mapped to those of a backbone.

    @hookimpl
    def register_weight_maps():
        return [WeightMap("ourlab", "networks of our lab", build=to_timm, fits=lambda names: "trunk.stem.weight" in names)]
    """


@hookspec
def register_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Commands, typed as `mammozoo NAME`. Import what they need inside of them, so that lists stay fast.

    @hookimpl
    def register_commands():
        return [CommandSpec("wards", "images of each ward", run=count_wards)]
    """


@hookspec
def epoch_end(run: RunDirectory, row: EpochRow) -> str | None:
    """Called after every epoch. An error in it is logged and never fatal; what it prints goes to stderr.

    A text that it returns prunes the fit: of a grid or a search that trains one fit at a time its point ends here, with this
    reason, and is not chosen. In other trainings the text is not used.

    @hookimpl
    def epoch_end(run, row):
        print(run.path.name, row.epoch, row.val_loss, file=sys.stderr)
    """


@hookspec
def run_scored(run: RunDirectory, train: Outcome, test: Outcome) -> str | None:
    """Called once before a run's model and card are written; a text that it returns becomes a stamp (a warning label) of both.

    `train` and `test` are the images of these parts in the fits that report, of several repeats in the first. An error in it is
    logged and never fatal; what it prints goes to stderr.

    @hookimpl
    def run_scored(run, train, test):
        return None if len(test) >= 30 else "fewer than 30 test images"
    """


@hookspec
def run_sections(run: RunDirectory, train: Outcome, test: Outcome) -> Iterable[Section]:  # type: ignore[empty-body]
    """Called once before a run's card is written: sections for its card and its report. They are kept in `run.json`.

    `train` and `test` are as in `run_scored`. An error in it is logged and never fatal; what it prints goes to stderr.

    @hookimpl
    def run_sections(run, train, test):
        return [Section("Prevalence", f"{test.labels.mean():.0%} of the test images are malignant.")]
    """


@hookspec
def run_end(run: RunDirectory) -> None:
    """Called once when a run is complete. An error in it is logged and never fatal; what it prints goes to stderr.

    @hookimpl
    def run_end(run):
        notify(run.path)
    """
