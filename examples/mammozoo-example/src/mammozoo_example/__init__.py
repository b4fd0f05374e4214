"""One of each kind: what a plugin can bring to mammozoo, as small as it can be.

This module holds the hooks and nothing else. Each hook imports what it gives, so that `mammozoo --help` need not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo import hookimpl

if TYPE_CHECKING:
    from mammozoo import BackboneSpec, Dataset, HeadSpec, Metric, RunDirectory, Strategy, TransformSpec
    from mammozoo.training.run_directory import EpochRow

mammozoo_api = 1  # the plugin API that this was written for; an older mammozoo says that it is too old

_HERE = Path(__file__).parent


@hookimpl
def register_datasets() -> Iterable[type[Dataset]]:
    """`example-shapes`."""
    from mammozoo_example.dataset import Shapes

    return [Shapes]


@hookimpl
def register_backbones() -> Iterable[BackboneSpec]:
    """`example-net`."""
    from mammozoo_example.backbone import NET

    return [NET]


@hookimpl
def register_heads() -> Iterable[HeadSpec]:
    """`example-max`."""
    from mammozoo_example.head import MAX

    return [MAX]


@hookimpl
def register_strategies() -> Iterable[type[Strategy]]:
    """`example-norms`."""
    from mammozoo_example.strategy import NormsOnly

    return [NormsOnly]


@hookimpl
def register_metrics() -> Iterable[Metric]:
    """`example-youden`."""
    from mammozoo_example.metric import YOUDEN

    return [YOUDEN]


@hookimpl
def register_transforms() -> Iterable[TransformSpec]:
    """`example-speckle`."""
    from mammozoo_example.transform import SPECKLE

    return [SPECKLE]


@hookimpl
def register_recipes() -> Iterable[Path]:
    """A recipe is named by its file's stem."""
    return sorted((_HERE / "recipes").glob("*.yaml"))


@hookimpl
def register_papers() -> Iterable[Path]:
    """So is a paper, for `mammozoo reproduce`."""
    return sorted((_HERE / "papers").glob("*.yaml"))


@hookimpl
def register_zoos() -> Iterable[Path]:
    """The models that this package brings: `mammozoo zoo list` shows them."""
    return [_HERE / "zoo" / "zoo.yaml"]


@hookimpl
def epoch_end(run: RunDirectory, row: EpochRow) -> None:
    """Called after every epoch of every run, whoever's it is."""
    from mammozoo_example.notebook import note_epoch

    note_epoch(run, row)


@hookimpl
def run_end(run: RunDirectory) -> None:
    """Called once when a run is complete."""
    from mammozoo_example.notebook import note_run

    note_run(run)
