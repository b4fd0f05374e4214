"""mixup and cutmix by timm, drawn from (seed, epoch, batch, process): an epoch that is resumed mixes as it would have."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from mammozoo.config.recipe import Recipe
from mammozoo.models.imports import without_dynamo


class Mixing:
    """Mixes each image of a batch with another one; of a batch with an odd number the last stays as it is."""

    def __init__(self, recipe: Recipe, rank: int):
        with without_dynamo():
            from timm.data import Mixup  # here: importing timm takes a second

        self.mixup = Mixup(recipe.methods.mixup, recipe.methods.cutmix, label_smoothing=0.0)  # type: ignore[no-untyped-call]
        self.seed, self.rank = recipe.seed, rank
        self.shares = torch.empty(0)

    def begin(self, epoch: int, batch: int) -> None:
        """Before a batch: what is drawn depends on nothing else."""
        self.key = [self.seed, epoch, batch, self.rank]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) mixed images; which are in which, and how much, is kept for `targets`."""
        n, even = len(images), len(images) // 2 * 2
        self.shares = torch.eye(n, device=images.device)
        if not even:
            return images
        before = np.random.get_state()
        np.random.seed(np.random.SeedSequence(self.key).generate_state(4))  # timm draws from numpy's own generator
        self.mixup.num_classes = even  # each image is its own class: the targets are the shares of the images
        mixed, shares = self.mixup(images[:even].clone(), torch.arange(even, device=images.device))
        np.random.set_state(before)
        self.shares[:even, :even] = shares
        return torch.cat([mixed, images[even:]])

    def targets(self, labels: torch.Tensor, classes: int) -> torch.Tensor:
        """(N,) labels of the batch → (N, classes) shares of the classes in its mixed images."""
        return self.shares @ F.one_hot(labels, classes).float()
