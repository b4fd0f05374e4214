"""Stages: what one training of a backbone passes to the next, and which images an earlier one must not use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mammozoo.data.loaded import Data
from mammozoo.data.splits.leakage import joined_groups
from mammozoo.data.splits.make import Indices, Split, TooFewGroupsError, divide
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.files import sha256
from mammozoo.models.config import PastStage, read_config
from mammozoo.models.factory import Lineage
from mammozoo.models.model import Model
from mammozoo.models.weights import read_tensors
from mammozoo.training.history import read_history

_BACKBONE = "backbone."

#: Name and shape of every tensor of a backbone, except the counters of batch norms.
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class StageResult:
    """What a complete stage passes on: the backbone of its best epoch, its origin, and the stages up to it."""

    state: dict[str, torch.Tensor]
    lineage: Lineage
    past: tuple[PastStage, ...]


def read_stage(folder: Path) -> StageResult:
    """The result of the stage that was trained in `folder`.

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
    return StageResult(state, lineage, (*training.stages, stage))


def stage_splits(name: str, stage: Data, final: Data, splits: Sequence[Split], *, val: float, seed: int) -> list[Split]:
    """For each split of the final data, a split of the stage's data into train and val, by group; the test part is empty.

    Images that belong to a group of the final validation or test part (`joined_groups`) are left out: the images that choose
    or report in the end must be new to the weights. If the two data sets share nothing, all splits are equal.

    Raises:
        UsageError: too little is left to train on.
    """
    groups, in_final = joined_groups(stage, final)
    return [
        _split_without(name, stage, groups, in_final[np.concatenate([s.val, s.test])], s.name, val, seed)
        for s in splits
    ]


def _split_without(
    name: str, stage: Data, groups: Indices, kept_back: Indices, split: str, val: float, seed: int
) -> Split:
    """One split of the stage's images that are not in one of the groups `kept_back`."""
    left = np.flatnonzero(~np.isin(groups, kept_back))
    labels = stage.labels[left]
    gone = [text for number, text in enumerate(stage.classes) if not (labels == number).any()]
    if gone:
        raise UsageError(
            f"Stage '{name}' has no image of class '{gone[0]}' left for split '{split}': all of them, or near-duplicates of "
            "them, are in its validation or test part."
        )
    try:
        try:
            train, val_part = divide(left, stage.labels, stage.groups, val, len(left), seed, "the validation part")
        except TooFewGroupsError as error:
            raise error.named(stage.classes) from None
    except UsageError as error:
        raise UsageError(f"Stage '{name}', split '{split}': {error}") from None
    return Split(split, train, val_part, np.empty(0, np.intp))


def shapes(backbone: torch.nn.Module) -> Shapes:
    """Name and shape of every tensor in a file of its weights."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def check_handover(plain: Shapes, stages: Sequence[tuple[str, str, Model]]) -> None:
    """Refuse a stage that cannot take over the network of the stage before.

    A strategy such as `drs` inserts layers. A following stage must have the same layers, or it has no place for them.
    `stages` are (name, strategy, model as it will be trained), first to last.

    Raises:
        IncompatibleError: with both stages' names.
    """
    adapted = [shapes(model.backbone) for _, _, model in stages]
    for (name, strategy, _), (next_name, next_strategy, _), own, following in zip(
        stages, stages[1:], adapted, adapted[1:], strict=False
    ):
        if own != plain and own != following:
            raise IncompatibleError(
                f"Stage '{name}' trains by '{strategy}', which changes the network, and '{next_name}' by '{next_strategy}' has no "
                f"place for what it adds. Give both the same strategy, or stage '{name}' one that leaves the network as it is, "
                "such as full."
            )


def fits(backbone: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> bool:
    """Whether the weights fit this network; those of a network that a strategy changed do not."""
    return shapes(backbone) == {
        name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")
    }
