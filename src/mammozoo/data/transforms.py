"""Image transforms by name: preprocessing steps, and augmentations that draw from a given generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import call, parse
from mammozoo.plugins import registry

if TYPE_CHECKING:
    import torch

#: (H, W, 1 or 3) uint8 pixels and a generator → the same form. Same generator state, same result. With the attribute `deep` it
#: also takes uint16 and float32, and gives these or uint8. With a method `sight(pixels)` it crops as the `Window` says.
Transform = Callable[[npt.NDArray[Any], np.random.Generator], npt.NDArray[Any]]


@dataclass(frozen=True)
class Batched:
    """What a random transform may have as its attribute `batched`: its form for whole batches, where they lie on a card.

    Without it a card waits for images that are augmented one by one. Results have the same distribution as the transform's;
    whole grey levels may differ by rounding.

    Attributes:
        draw: a generator and n → (n, k), whatever is random about each of n images.
        apply: (N, C, H, W) float32 images in [0, 255] and their (N, k) float32 rows → the same form, on the same device,
            without waiting for the device.
    """

    draw: Callable[[np.random.Generator, int], npt.NDArray[Any]]
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class TransformSpec:
    """A transform by name: `build(**options)` → `Transform`. `random` states whether it uses its generator."""

    name: str
    summary: str
    build: Callable[..., Transform]
    random: bool = False


def transform_spec(text: str) -> TransformSpec:
    """The specification of the transform that `text` (`rotate:degrees=15`) names; NotFoundError if there is none."""
    spec: TransformSpec = registry().get("transforms", parse(text).name)
    return spec


def build(text: str) -> Transform:
    """The transform that `text` (`rotate:degrees=15`) describes.

    Raises:
        NotFoundError, UsageError: unknown name, or options that it does not take.
    """
    transform: Transform = call(transform_spec(text).build, parse(text))
    return transform
