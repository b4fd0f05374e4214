"""mammozoo: transfer learning for breast imaging with guarded splits, honest scores and a model zoo.

Research use only: not a medical device. The public names below load on first use, so that importing the
package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: The version of the plugin contract (`hookspecs.py`). A plugin may state `mammozoo_api`; a higher one is refused.
API = 1

_PUBLIC = {
    "hookimpl": "mammozoo.hookspecs",
    "Dataset": "mammozoo.data.sample",
    "DatasetInfo": "mammozoo.data.sample",
    "Sample": "mammozoo.data.sample",
    "TransformSpec": "mammozoo.data.transform",
    "Backbone": "mammozoo.models.backbone",
    "BackboneSpec": "mammozoo.models.backbone",
    "Group": "mammozoo.models.backbone",
    "HeadSpec": "mammozoo.models.head",
    "Metric": "mammozoo.evaluation.metric",
    "Model": "mammozoo.models.model",
    "Recipe": "mammozoo.training.recipe",
    "Strategy": "mammozoo.models.strategy",
    "MammozooError": "mammozoo.errors",
}

__all__ = ["API", "__version__", *_PUBLIC]

if TYPE_CHECKING:
    from mammozoo.data.sample import Dataset as Dataset
    from mammozoo.data.sample import DatasetInfo as DatasetInfo
    from mammozoo.data.sample import Sample as Sample
    from mammozoo.data.transform import TransformSpec as TransformSpec
    from mammozoo.errors import MammozooError as MammozooError
    from mammozoo.evaluation.metric import Metric as Metric
    from mammozoo.hookspecs import hookimpl as hookimpl
    from mammozoo.models.backbone import Backbone as Backbone
    from mammozoo.models.backbone import BackboneSpec as BackboneSpec
    from mammozoo.models.backbone import Group as Group
    from mammozoo.models.head import HeadSpec as HeadSpec
    from mammozoo.models.model import Model as Model
    from mammozoo.models.strategy import Strategy as Strategy
    from mammozoo.training.recipe import Recipe as Recipe


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mammozoo' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
