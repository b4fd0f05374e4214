"""From samples to batches: decode once at the working size, augment by the recipe's seed, hand to torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mammozoo.data.fingerprint import Fingerprint, Prints, collect, fingerprint
from mammozoo.data.input import Input, Pixels
from mammozoo.data.profile import NAMES, Features, features
from mammozoo.data.sample import Dataset, Sample
from mammozoo.data.transform import Transform

#: One batch: (N, h, w, 1 or 3) uint8 pixels, (N,) int64 labels, (N,) positions among the images.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Images:
    """All images of a data set as a model will see them, in memory.

    Attributes:
        pixels: (N, h, w, 1 or 3) uint8.
        prints: fingerprints of the images as stored.
        features: (N, 16) statistics of the images as stored, for the model's input guard.
    """

    pixels: Pixels
    prints: Prints
    features: Features


def decode(
    dataset: Dataset, samples: Sequence[Sample], input: Input, advance: Callable[[], object] = lambda: None
) -> Images:
    """Read every sample once. `advance` is called after each, for a progress bar.

    Raises:
        UnreadableImageError: of the first image that cannot be read.
    """
    prepare = input.preparer()

    def one(sample: Sample) -> tuple[Pixels, Fingerprint, Features]:
        image = dataset.read(sample)
        result = prepare(image), fingerprint(image), features(image)
        advance()
        return result

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(one, samples))
    shape = (*input.size, 1 if input.color == "grey" else 3)
    pixels = np.stack([r[0] for r in results]) if results else np.empty((0, *shape), np.uint8)
    seen = np.stack([r[2] for r in results]) if results else np.empty((0, len(NAMES)), np.float32)
    return Images(pixels, collect([r[1] for r in results]), seen)


class _View(TorchDataset[Any]):
    """Some of the images, augmented with a generator that depends on (seed, epoch, image) alone.

    So the result is the same whatever the order, and however many workers share the work.
    """

    def __init__(
        self, pixels: Pixels, labels: npt.NDArray[np.intp], augment: Sequence[Transform], key: tuple[int, int]
    ):
        self.pixels, self.labels, self.augment, self.key = pixels, labels, augment, key

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        pixels = self.pixels[index]
        rng = np.random.default_rng([*self.key, index])
        for step in self.augment:
            pixels = step(pixels, rng)
        return torch.from_numpy(np.ascontiguousarray(pixels)), int(self.labels[index]), index


def batches(
    pixels: Pixels,
    labels: npt.NDArray[np.intp],
    indices: npt.NDArray[np.intp],
    size: int,
    *,
    augment: Sequence[Transform] = (),
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    workers: int = 0,
) -> DataLoader[Batch]:
    """Batches of `size` images; the order and the augmentation depend on (seed, epoch) alone.

    In a shuffled epoch an image that would make a last batch of its own waits for the next epoch: batch norm cannot
    train on one image.
    """
    order = indices
    if shuffle:
        order = np.random.default_rng([seed, epoch]).permutation(indices)
        if len(order) > size and len(order) % size == 1:
            order = order[:-1]
    return DataLoader(
        _View(pixels, labels, augment, (seed, epoch)),
        batch_size=size,
        sampler=order.tolist(),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
