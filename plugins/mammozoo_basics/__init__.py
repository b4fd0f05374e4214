"""The basics: timm and torchvision backbones, heads, standard strategies, metrics and transforms."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:  # each hook imports its own things, so that a command imports no more than it needs
    from mammozoo import (
        BackboneSpec,
        EpochRow,
        HeadSpec,
        LossSpec,
        Metric,
        PredictorSpec,
        RunDirectory,
        Strategy,
        TransformSpec,
        WeightMap,
    )


@hookimpl
def register_backbones() -> Iterable[BackboneSpec]:
    """Every convolutional network of timm, and torchvision's under `torchvision/`."""
    from mammozoo_basics.catalogue import Catalogue

    return Catalogue()


@hookimpl
def register_heads() -> Iterable[HeadSpec]:
    """`gap`, `gap-fc`, `flatten-2fc`."""
    from mammozoo_basics.heads import HEADS

    return HEADS


@hookimpl
def register_strategies() -> Iterable[type[Strategy]]:
    """`frozen`, `last-blocks`, `full`, `scratch`."""
    from mammozoo_basics.strategies import STRATEGIES

    return STRATEGIES


@hookimpl
def register_losses() -> Iterable[LossSpec]:
    """`cross-entropy`, `focal`."""
    from mammozoo_basics.losses import LOSSES

    return LOSSES


@hookimpl
def register_weight_maps() -> Iterable[WeightMap]:
    """`transformers`: its ViT, DeiT and BeiT."""
    from mammozoo.models.weight_map import WeightMap
    from mammozoo_basics.transformers_names import fits, to_timm

    return [
        WeightMap(
            "transformers", "ViT, DeiT and BEiT of Hugging Face's transformers, for timm's", build=to_timm, fits=fits
        )
    ]


@hookimpl
def register_predictors() -> Iterable[PredictorSpec]:
    """`onnx`."""
    from mammozoo_basics.onnx_predictor import PREDICTORS

    return PREDICTORS


@hookimpl
def register_metrics() -> Iterable[Metric]:
    """AUC, accuracy and their kin."""
    from mammozoo_basics.metrics import METRICS

    return METRICS


@hookimpl
def register_transforms() -> Iterable[TransformSpec]:
    """Preprocessing steps and augmentations, through OpenCV and albumentations."""
    from mammozoo_basics.augmentations import AUGMENTATIONS
    from mammozoo_basics.films import FILMS
    from mammozoo_basics.scanner import SCANNER
    from mammozoo_basics.transforms import TRANSFORMS

    return [*AUGMENTATIONS, *SCANNER, *TRANSFORMS, *FILMS]


@hookimpl
def register_recipes() -> Iterable[Path]:
    """`default`: the recipe of `mammozoo train` without options."""
    return sorted((Path(__file__).parent / "recipes").glob("*.yaml"))


@hookimpl
def epoch_end(run: RunDirectory, row: EpochRow) -> None:
    """For TensorBoard, if MAMMOZOO_TENSORBOARD names a folder."""
    if folder := os.environ.get("MAMMOZOO_TENSORBOARD"):
        from mammozoo_basics.tensorboard import log_epoch

        log_epoch(folder, run, row)
