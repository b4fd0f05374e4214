"""What a transform promises: the shape and type of an image, and the same result for the same generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.transforms import TransformSpec
from mammozoo.testing.check import needs, rule
from mammozoo.testing.common import WithOptions

Pixels = npt.NDArray[Any]


class TransformRules(WithOptions[TransformSpec]):
    """Tried on two small images, one grey and one in colours."""

    @rule("The next transform expects what this one got. Return (H, W, 1) or (H, W, 3) uint8, as it came in.")
    def form_is_kept(self) -> None:
        """(H, W, 1) and (H, W, 3) uint8 images keep their form, also if they are constant."""
        for pixels in [*_images(), np.full((40, 48, 3), 90, np.uint8)]:
            result = self._applied(pixels)
            assert result.dtype == np.uint8, f"uint8 becomes {result.dtype}."
            kept = result.ndim == 3 and result.shape[2] == pixels.shape[2] and result.size
            assert kept, f"{pixels.shape} becomes {result.shape}."

    @needs(form_is_kept)
    @rule("Trainings and predictions must repeat. Draw from the generator that you are given and no other.")
    def same_generator_same_result(self) -> None:
        """Two generators of one seed give the same pixels, also in a transform built anew."""
        transform = self._make(self.value.build)
        for pixels in _images():
            results = [transform(pixels.copy(), np.random.default_rng(5)) for _ in range(2)] + [self._applied(pixels)]
            same = all(np.array_equal(results[0], other) for other in results)
            assert same, f"One image of {pixels.shape} gives two results from one seed."

    @needs(form_is_kept)
    @rule("Training and prediction must see the same. Set random=True, and use it as an augmentation alone.")
    def fixed_unless_random(self) -> None:
        """If `random` is False, generators of different seeds give the same pixels."""
        for pixels in _images():
            fixed = self.value.random or np.array_equal(self._applied(pixels), self._applied(pixels, seed=6))
            assert fixed, "`random` is False, and the result depends on the generator."

    @needs(form_is_kept)
    @rule("Images are cached and used again in the next epoch. Copy before you change, or return a new array.")
    def leaves_its_input_alone(self) -> None:
        """The pixels that were given are as before."""
        transform = self._make(self.value.build)
        for pixels in _images():
            given = pixels.copy()
            for seed in range(5):  # a random one may leave an image as it is
                transform(given, np.random.default_rng(seed))
            assert np.array_equal(given, pixels), "It changes the image that it is given."

    def _applied(self, pixels: Pixels, seed: int = 5) -> Pixels:
        """What a transform built anew makes of a copy of the image."""
        return self._make(self.value.build)(pixels.copy(), np.random.default_rng(seed))


def _images() -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 48, channels)).astype(np.uint8) for channels in (1, 3)]
