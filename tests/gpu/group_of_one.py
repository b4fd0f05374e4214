"""Train the same model by a single process and by a process group of size 1; print the losses as JSON.

    python tests/gpu/group_of_one.py cuda|cpu STRATEGY

Two processes cannot share a card through NCCL, so this is how far one card goes: the group of processes, gradients averaged
by DistributedDataParallel, and everything that is summed, broadcast and gathered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from mammozoo.config.recipe import Recipe
from mammozoo.data.splits.make import Split
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.training.callbacks import Callbacks
from mammozoo.training.distributed import SINGLE, DistContext
from mammozoo.training.feed import TrainingData
from mammozoo.training.trainer import Trainer


class GroupOfOne(DistContext):
    """A context of size 1 that skips no exchange."""

    @property
    def is_single(self) -> bool:
        return False


def losses(dist: DistContext, device: str, strategy_name: str) -> list[float]:
    """Training and validation loss of three epochs."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    order, fields = np.arange(40), {"dataset": "phantom", "backbone": "test_resnet", "weights": "random", "size": 64}
    recipe = Recipe.model_validate(
        fields | {"strategy": strategy_name, "precision": "fp32", "epochs": 3, "batch": 8, "optimizer": {"lr": 1e-3}}
    )
    backbone = build_backbone(recipe.backbone)
    input = backbone.input.model_copy(update={"size": recipe.size})
    model, strategy = build_model(backbone, recipe.strategy, recipe.head, ("benign", "malignant"), input)
    labels = (order % 2).astype(np.intp)
    pixels = (rng.integers(0, 128, (40, 64, 64, 1)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    data = TrainingData(
        pixels, labels, [f"image-{i}" for i in order], Split("holdout", order[:30], order[30:], order[:0])
    )
    engine = choose_engine(device, "fp32")
    history = Trainer(model, strategy, recipe, data, engine, Callbacks(dist=dist)).fit()
    return [loss for row in history for loss in (row.train_loss, row.val_loss)]


def main() -> None:
    """The single process first."""
    device, strategy = sys.argv[1:]
    result: dict[str, object] = {"single": losses(SINGLE, device, strategy)}
    where = f"file://{Path('rendezvous').absolute()}"
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", init_method=where, rank=0, world_size=1)
    result |= {"group": losses(GroupOfOne(), device, strategy), "backend": distributed.get_backend()}
    distributed.destroy_process_group()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
