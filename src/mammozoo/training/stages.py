"""Stages: what one training of a backbone hands to the next, and which images an earlier one must not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mammozoo.data.loaded import Data
from mammozoo.data.splits.leakage import joined_groups
from mammozoo.data.splits.make import Indices, Split, holdout
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.files import sha256
from mammozoo.models.config import PastStage, read_config
from mammozoo.models.factory import Lineage
from mammozoo.models.model import Model
from mammozoo.models.weights import read_tensors
from mammozoo.training.run_directory import read_history

_BACKBONE = "backbone."

#: Name and shape of every tensor of a backbone; the counter of batch norms plays no part.
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Start:
    """What a complete stage hands on: its best epoch's backbone, where it comes from, and the stages up to it."""

    state: dict[str, torch.Tensor]
    lineage: Lineage
    past: tuple[PastStage, ...]


def read_start(folder: Path) -> Start:
    """What the stage that was trained in `folder` hands on.

    Raises:
        NotFoundError, IncompatibleError, NotVerifiedError: there is no complete stage, or its files are damaged.
    """
    config, weights = read_config(folder), folder / "model.safetensors"
    training = config.training
    state = {
        name.removeprefix(_BACKBONE): tensor
        for name, tensor in read_tensors(weights).items()
        if name.startswith(_BACKBONE)
    }
    stage = PastStage(
        name=config.name,
        dataset=training.dataset,
        classes=config.asked,
        images=training.images,
        left_out=training.left_out,
        strategy=config.strategy,
        head=config.head,
        epochs=len(read_history(folder)),
        weights=training.weights,
        sha256=sha256(weights),
        stamps=config.stamps,
    )
    lineage = Lineage(f"stage:{config.name}", training.seen, training.synthetic)
    return Start(state, lineage, (*training.stages, stage))


def stage_splits(name: str, stage: Data, final: Data, splits: Sequence[Split], *, val: float, seed: int) -> list[Split]:
    """For each split of the final data one of the stage's into train and val, by group, with nothing in test.

    An image that belongs with one of the split's validation or test part (`joined_groups`) is in neither: what chooses or
    reports in the end must be new to the weights. Where the two data sets share nothing, all the splits are alike.

    Raises:
        UsageError: too little is left to train on.
    """
    groups, in_final = joined_groups(stage, final)
    return [_without(name, stage, groups, in_final[np.concatenate([s.val, s.test])], s.name, val, seed) for s in splits]


def _without(name: str, stage: Data, groups: Indices, kept_back: Indices, split: str, val: float, seed: int) -> Split:
    """One split of the stage's images that are in none of the groups `kept_back`."""
    left = np.flatnonzero(~np.isin(groups, kept_back))
    labels = stage.labels[left]
    gone = [text for number, text in enumerate(stage.classes) if not (labels == number).any()]
    if gone:
        raise UsageError(
            f"Stage '{name}' has no image of class '{gone[0]}' left for split '{split}': all of them, or their like, are in its "
            "validation or test part."
        )
    try:
        cut = holdout(labels, stage.groups[left], val=val, test=val, seed=seed)[0]
    except UsageError as error:
        raise UsageError(f"Stage '{name}', split '{split}': {error}") from None
    # Of a cut in three the held-out part is the stage's validation; what was cut for validation goes back to train.
    train = np.sort(np.concatenate([cut.train, cut.val]))
    return Split(split, left[train], left[cut.test], np.empty(0, np.intp))


def shapes(backbone: torch.nn.Module) -> Shapes:
    """Name and shape of every tensor that a file of its weights holds."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def check_handover(plain: Shapes, stages: Sequence[tuple[str, str, Model]]) -> None:
    """Refuse stages of which one cannot take over what the one before has made of the network.

    A strategy such as `drs` puts layers in. They go on to a stage with the same layers; one without them, or with others, has no
    place for them. `stages` are (name, strategy, model as it will be trained), first to last.

    Raises:
        IncompatibleError: with both stages' names.
    """
    made = [shapes(model.backbone) for _, _, model in stages]
    for (name, strategy, _), (next_name, next_strategy, _), own, following in zip(
        stages, stages[1:], made, made[1:], strict=False
    ):
        if own != plain and own != following:
            raise IncompatibleError(
                f"Stage '{name}' trains by '{strategy}', which changes the network, and '{next_name}' by '{next_strategy}' has no "
                f"place for what it adds. Give both the same strategy, or stage '{name}' one that leaves the network as it is, "
                "such as full."
            )


def fits(backbone: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> bool:
    """Whether the weights are of this very network, or of one that a strategy has changed."""
    return shapes(backbone) == {
        name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")
    }
