"""mammozoo: transfer learning for breast imaging with guarded splits, honest scores and a model zoo.

Research use only: not a medical device. The public names below load on first use, so that importing the
package costs nothing.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

#: The version of the plugin contract (`hookspecs.py`). A plugin may state `mammozoo_api`; a higher one is refused.
API = 1

_PUBLIC = {
    "hookimpl": "mammozoo.hookspecs",
    "Input": "mammozoo.data.preprocessing",
    "Dataset": "mammozoo.data.dataset",
    "DatasetInfo": "mammozoo.data.dataset",
    "Sample": "mammozoo.data.dataset",
    "TransformSpec": "mammozoo.data.transforms",
    "Backbone": "mammozoo.models.backbone",
    "BackboneSpec": "mammozoo.models.backbone_spec",
    "Group": "mammozoo.models.backbone",
    "Make": "mammozoo.models.backbone",
    "output_shapes": "mammozoo.models.backbone",
    "HeadSpec": "mammozoo.models.head",
    "Metric": "mammozoo.evaluation.metric",
    "Outcome": "mammozoo.evaluation.outcome",
    "Resamples": "mammozoo.evaluation.resampling",
    "Model": "mammozoo.models.model",
    "Recipe": "mammozoo.config.recipe",
    "LossSpec": "mammozoo.training.loss",
    "PredictorSpec": "mammozoo.models.predictor",
    "CommandSpec": "mammozoo.plugins.command_spec",
    "WeightMap": "mammozoo.models.weight_map",
    "Section": "mammozoo.zoo.section",
    "Strategy": "mammozoo.models.strategy",
    "MammozooError": "mammozoo.errors",
    "UsageError": "mammozoo.errors",
    "Classifier": "mammozoo.api.classifier",
    "Prediction": "mammozoo.evaluation.predict",
    "Progress": "mammozoo.progress",
    "EpochRow": "mammozoo.training.history",
    "RunDirectory": "mammozoo.training.run_directory",
    "load": "mammozoo.api.classifier",
    "predict": "mammozoo.api.prediction",
    "train": "mammozoo.api.training",
    "evaluate": "mammozoo.api.scoring",
    "embed": "mammozoo.api.from_model",
    "explain": "mammozoo.api.heat_maps",
    "export": "mammozoo.api.from_model",
    "compare": "mammozoo.api.scoring",
    "recalibrate": "mammozoo.api.from_model",
    "search": "mammozoo.api.training",
    "Search": "mammozoo.training.search",
    "PrunedError": "mammozoo.training.checkpoint",
    "list": "mammozoo.api.listing",
}

#: Public names of earlier versions, and what they are called now.
_RENAMED = {"Run": "RunDirectory"}

#: Without `list`: a star import would put it before Python's own.
__all__ = ["API", "__version__", *(name for name in _PUBLIC if name != "list")]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mammozoo.api import Classifier as Classifier
    from mammozoo.api import compare as compare
    from mammozoo.api import embed as embed
    from mammozoo.api import evaluate as evaluate
    from mammozoo.api import explain as explain
    from mammozoo.api import export as export
    from mammozoo.api import list as list
    from mammozoo.api import load as load
    from mammozoo.api import predict as predict
    from mammozoo.api import recalibrate as recalibrate
    from mammozoo.api import search as search
    from mammozoo.api import train as train
    from mammozoo.config.recipe import Recipe as Recipe
    from mammozoo.data.dataset import Dataset as Dataset
    from mammozoo.data.dataset import DatasetInfo as DatasetInfo
    from mammozoo.data.dataset import Sample as Sample
    from mammozoo.data.preprocessing import Input as Input
    from mammozoo.data.transforms import TransformSpec as TransformSpec
    from mammozoo.errors import MammozooError as MammozooError
    from mammozoo.errors import UsageError as UsageError
    from mammozoo.evaluation.metric import Metric as Metric
    from mammozoo.evaluation.outcome import Outcome as Outcome
    from mammozoo.evaluation.predict import Prediction as Prediction
    from mammozoo.evaluation.resampling import Resamples as Resamples
    from mammozoo.hookspecs import hookimpl as hookimpl
    from mammozoo.models.backbone import Backbone as Backbone
    from mammozoo.models.backbone import Group as Group
    from mammozoo.models.backbone import Make as Make
    from mammozoo.models.backbone import output_shapes as output_shapes
    from mammozoo.models.backbone_spec import BackboneSpec as BackboneSpec
    from mammozoo.models.head import HeadSpec as HeadSpec
    from mammozoo.models.model import Model as Model
    from mammozoo.models.predictor import PredictorSpec as PredictorSpec
    from mammozoo.models.strategy import Strategy as Strategy
    from mammozoo.models.weight_map import WeightMap as WeightMap
    from mammozoo.plugins.command_spec import CommandSpec as CommandSpec
    from mammozoo.progress import Progress as Progress
    from mammozoo.training.checkpoint import PrunedError as PrunedError
    from mammozoo.training.history import EpochRow as EpochRow
    from mammozoo.training.loss import LossSpec as LossSpec
    from mammozoo.training.run_directory import RunDirectory as RunDirectory
    from mammozoo.training.search import Search as Search
    from mammozoo.zoo.section import Section as Section


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(f"mammozoo.{name} is now mammozoo.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        name = _RENAMED[name]
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mammozoo' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> Iterable[str]:
    return sorted({*globals(), *_PUBLIC})
