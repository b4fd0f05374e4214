"""What a fit learns from, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammozoo.data.preprocessing import Pixels
from mammozoo.data.splits.make import Split


@dataclass(frozen=True)
class TrainingData:
    """All images as the model sees them, their labels and names, and the split."""

    pixels: Pixels
    labels: npt.NDArray[np.intp]
    names: Sequence[str]
    split: Split


def epoch_order(indices: npt.NDArray[np.intp], size: int, seed: int, epoch: int) -> npt.NDArray[np.intp]:
    """The images of an epoch in their order, which depends on (seed, epoch) alone.

    An image that would make a last batch of its own waits for the next epoch: batch norm cannot train on one image.
    """
    order = np.random.default_rng([seed, epoch]).permutation(indices)
    return order[:-1] if len(order) > size and len(order) % size == 1 else order
