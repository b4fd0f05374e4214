"""A transform: multiplicative noise, as an augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from mammozoo import TransformSpec
from mammozoo.data.transforms import Transform


class Speckle:
    """(H, W, C) uint8 → the same, each pixel times 1 ± `strength`. A class and no closure, so that processes can share it."""

    def __init__(self, strength: float = 0.1) -> None:
        self.strength = strength

    def __call__(self, pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        """One noise for all channels, drawn from the generator that is given and from nothing else."""
        noise = rng.normal(1, self.strength, (*pixels.shape[:2], 1))
        return np.clip(pixels * noise, 0, 255).astype(np.uint8)


def build(strength: float = 0.1) -> Transform:
    """The arguments are the options: `example-speckle:strength=0.3`."""
    return Speckle(strength)


#: `random=True`: it uses its generator, so it is for training alone.
SPECKLE = TransformSpec("example-speckle", "multiplicative noise", build, random=True)
