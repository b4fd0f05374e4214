"""Image classifiers of Hugging Face's `transformers` in place of mammozoo's models: a folder of safetensors, pinned by digest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:  # torch and transformers are imported by who uses a model, not by who lists them
    from mammozoo import PredictorSpec, TransformSpec

mammozoo_api = 1


@hookimpl
def register_predictors() -> Iterable[PredictorSpec]:
    """`transformers`."""
    from mammozoo_transformers.classifier import CLASSIFIERS

    return [CLASSIFIERS]


@hookimpl
def register_transforms() -> Iterable[TransformSpec]:
    """`transformers-resize`, the first step of a model's preprocessing."""
    from mammozoo_transformers.processor import RESIZE

    return [RESIZE]
