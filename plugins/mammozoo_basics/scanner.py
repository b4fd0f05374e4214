"""Random transforms: what another scanner, another setting of it and the person who measures do to a picture.

They have no form for batches, so images are augmented one by one with them, also for a card.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mammozoo import TransformSpec
from mammozoo.data.transforms import Transform
from mammozoo.errors import UsageError

Pixels = npt.NDArray[Any]
Share = Annotated[float, Field(ge=0, le=1)]
Exponent = Annotated[float, Field(ge=0.1, le=10)]


def gamma(low: Exponent = 0.7, high: Exponent = 1.5, p: Share = 0.5) -> Transform:
    """Grey levels v become 255 (v / 255)^g for one g of [low, high], as another curve from echo to grey would make them."""
    if low > high:
        raise UsageError(f"gamma: low is at most high; got low={low:g}, high={high:g}.")

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        chosen, exponent = rng.random() < p, np.exp(rng.uniform(np.log(low), np.log(high)))
        table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
        return table[pixels] if chosen else pixels

    return apply


def blur(most: Annotated[float, Field(ge=0, le=50)] = 1.5, p: Share = 0.5) -> Transform:
    """Gaussian blur whose standard deviation, across and down apart, is up to `most` pixels."""
    import cv2

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        chosen, (across, down) = rng.random() < p, np.maximum(rng.uniform(0, most, 2), 1e-3)
        return cv2.GaussianBlur(pixels, (0, 0), across, sigmaY=down).reshape(pixels.shape) if chosen else pixels

    return apply


def speckle(strength: Share = 0.2, grain: Annotated[float, Field(ge=0, le=50)] = 1.0, p: Share = 0.5) -> Transform:
    """Each pixel times 1 + n: n is normal, correlated over about `grain` pixels, with a deviation of up to `strength`."""
    import cv2

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        chosen, deviation = rng.random() < p, rng.uniform(0, strength)
        if not chosen:
            return pixels
        noise = cv2.GaussianBlur(rng.standard_normal(pixels.shape[:2], np.float32), (0, 0), max(grain, 1e-3))
        noise = noise * (deviation / max(float(noise.std()), 1e-6))
        return np.rint(np.clip(pixels * (1 + noise[..., None]), 0, 255)).astype(np.uint8)

    return apply


def calipers(most: Annotated[int, Field(ge=1, le=20)] = 2, p: Share = 0.3) -> Transform:
    """One to `most` pairs of bright measuring marks anywhere, half of the pairs joined by a dotted line."""
    import cv2

    def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        if rng.random() >= p:
            return pixels
        marked, (height, width) = np.ascontiguousarray(pixels).copy(), pixels.shape[:2]
        for _ in range(rng.integers(1, most + 1)):
            ends = np.rint(rng.random((2, 2)) * [width - 1, height - 1]).astype(int)
            kind = [cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS][rng.integers(2)]
            size, level = max(3, round(min(height, width) * rng.uniform(0.02, 0.05))), int(rng.integers(180, 256))
            light = (level,) * pixels.shape[2]
            for x, y in ends.tolist():
                cv2.drawMarker(marked, (x, y), light, kind, size)
            if rng.random() < 0.5:
                count = max(2, int(np.abs(ends[1] - ends[0]).max()) // 4)
                dots = np.rint(np.linspace(ends[0], ends[1], count)).astype(int)
                marked[dots[:, 1], dots[:, 0]] = level
        return marked

    return apply


SCANNER = [
    TransformSpec("gamma", "another curve of grey levels", gamma, random=True),
    TransformSpec("blur", "Gaussian blur", blur, random=True),
    TransformSpec("speckle", "multiplicative noise", speckle, random=True),
    TransformSpec("calipers", "measuring marks drawn into the image", calipers, random=True),
]
