"""What a network is fed with during a fit: cached features, images that lie on its card, or images from the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import WeightedRandomSampler

from mammozoo.config.recipe import Recipe
from mammozoo.data.loader import batches
from mammozoo.data.on_card import CardImages, augmented, batched_forms, draw
from mammozoo.data.preprocessing import Pixels
from mammozoo.data.splits.make import Split
from mammozoo.data.transforms import build
from mammozoo.models.device import Engine
from mammozoo.models.model import Model
from mammozoo.training.feature_cache.features import FrozenFeatures, find_trunk
from mammozoo.training.mixing import Mixing

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class TrainingData:
    """All images as the model sees them, their labels and names, and the split."""

    pixels: Pixels
    labels: Indices
    names: Sequence[str]
    split: Split


class Feed:
    """Batches of the images at `indices`, for training and for prediction, and the network's answer to them."""

    def __init__(self, model: Model, recipe: Recipe, pixels: Pixels, labels: Indices, engine: Engine, *, alone: bool):
        """The model is placed and frozen as it will be trained; `alone` if no other process trains it."""
        self.model, self.recipe, self.pixels, self.labels, self.engine = model, recipe, pixels, labels, engine
        self.mixing: Mixing | None = None
        self.augment = [build(name) for name in recipe.augment]
        self.features = self._cached_features() if alone else None
        on_card = engine.device.type == "cuda" and self.features is None
        self.card = CardImages(pixels, labels, engine.device) if on_card else None
        #: The augmentations, where the card does them itself.
        self.forms = batched_forms(self.augment) if on_card else None

    def batches(self, order: Indices, size: int, epoch: int) -> Iterator[Sequence[torch.Tensor]]:
        """(features, labels), or (pixels, labels, rows of the augmentations that the card does)."""
        device, seed = self.engine.device, self.recipe.seed
        if self.features is not None:
            view = self.features.view_of(epoch)
            for start in range(0, len(order), size):
                chunk = order[start : start + size]
                yield self.features.batch(chunk, view), torch.from_numpy(self.labels[chunk]).to(device)
        elif self.card is not None and self.forms is not None:
            yield from self.card.batches(order, size, draw(self.forms, len(self.labels), seed, epoch, device))
        else:
            loader = batches(
                self.pixels, self.labels, order, size,
                augment=self.augment, seed=seed, epoch=epoch, workers=self.recipe.workers, device=device,
            )  # fmt: skip
            for pixels, labels, _ in loader:
                yield self.engine.take(pixels), self.engine.take(labels)

    def logits(
        self, network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *rows: torch.Tensor
    ) -> torch.Tensor:
        """The logits of a batch in the model's present mode, with gradients; `network` computes those of images."""
        if self.features is not None:
            return self.features.trunk.logits(x)
        images = self.model.backbone.input.normalize(augmented(x, self.forms or (), rows))
        if self.mixing is not None:
            images = self.mixing(images)
        with self.engine.autocast():
            return network(images)

    def predict(self, indices: Indices, advance: Callable[[int], None] = lambda _: None) -> torch.Tensor:
        """(len(indices), outputs) float32 logits on the CPU, in evaluation mode and without augmentation.

        `advance` is told how many images each batch has.
        """
        size = self.recipe.batch
        if self.features is not None:
            advance(len(indices))  # at once: they take no time
            return self.features.logits(indices, size)
        plain = batches(self.pixels, self.labels, indices, size)
        loader = plain if self.card is None else self.card.batches(indices, size)
        return self.engine.logits(self.model, _told(loader, advance), self.model.backbone.input)[0]

    def _cached_features(self) -> FrozenFeatures | None:
        """What the frozen part of the network gives for every image, if there is one and the recipe allows it."""
        recipe = self.recipe
        mixes = recipe.methods.mixup or recipe.methods.cutmix
        if not recipe.cache or mixes or (self.augment and not recipe.cache_views):
            return None
        if (trunk := find_trunk(self.model, self.engine)) is None:
            return None
        return trunk.cached(self.pixels, views=max(1, recipe.cache_views), augment=recipe.augment, seed=recipe.seed)


def _told(loader: Iterable[Sequence[torch.Tensor]], advance: Callable[[int], None]) -> Iterator[Sequence[torch.Tensor]]:
    for batch in loader:
        yield batch
        advance(len(batch[0]))


def epoch_order(indices: Indices, size: int, seed: int, epoch: int, labels: Indices | None = None) -> Indices:
    """The images of an epoch in their order, which depends on (seed, epoch) alone.

    An image that would make a last batch of its own waits for the next epoch: batch norm cannot train on one image. With
    `labels` of all images each is drawn with replacement, and every class equally often on average.
    """
    order = np.random.default_rng([seed, epoch]).permutation(indices)
    if labels is not None:
        weights = 1 / np.bincount(labels[order])[labels[order]]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = order[list(WeightedRandomSampler(weights.tolist(), len(order), generator=generator))]
    return order[:-1] if len(order) > size and len(order) % size == 1 else order
